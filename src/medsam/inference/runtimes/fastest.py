"""Which runtime is the faster one on this machine: measured once, and kept with the versions it was measured with."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch

from medsam.errors import OutputError
from medsam.files.atomic import replacing
from medsam.inference.runtimes.torch import Runtime
from medsam.models.weights.manifest import Manifest

RuntimeName = Literal["auto", "torch", "openvino"]
TRIES = 3  # the best counts: what else the machine does makes single ones slower, none faster
log = logging.getLogger("medsam")


def choose_fastest(
    runtimes: Mapping[RuntimeName, Callable[[], Runtime]], kept: Path, manifest: Manifest, weights: str
) -> RuntimeName:
    """Choose the runtime that encodes a slice in the least time, by measuring the first time only.

    Args:
        runtimes: What loads each, by name.
        kept: JSON file of the choices so far; made where it is not there, replaced where it cannot be read.
        manifest: Of the model.
        weights: Identity of the weights.
    """
    key = _key(list(runtimes), manifest, weights)
    choices = _read(kept)
    chosen = next((name for name in runtimes if choices.get(key, {}).get("runtime") == name), None)
    if chosen is not None:
        return chosen
    image_13SS = torch.zeros(1, 3, manifest.frame_size, manifest.frame_size)
    seconds = {name: _measure(load(), image_13SS) for name, load in runtimes.items()}
    fastest = min(seconds, key=lambda name: seconds[name])
    log.info("%s", ", ".join(f"{name} encodes a slice in {taken:.3f} s" for name, taken in seconds.items()))
    try:
        with replacing(kept) as temporary:
            note = {"runtime": fastest, "seconds": {name: round(taken, 5) for name, taken in seconds.items()}}
            temporary.write_text(json.dumps(_read(kept) | {key: note}, indent=1) + "\n", "utf-8")
    except OutputError as error:
        log.warning("the choice of runtime is not kept: %s", error)
    return fastest


def _key(names: list[RuntimeName], manifest: Manifest, weights: str) -> str:
    """What a choice holds for: the machine, the model, its frame, the threads and the versions of the libraries."""
    versions = " ".join(f"{name} {_version(name)}" for name in names)
    frame = f"{manifest.architecture} {weights[:16]} frame {manifest.frame_size}"
    return f"{platform.node()} {platform.machine()} {frame} threads {torch.get_num_threads()} {versions}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _read(kept: Path) -> dict[str, dict[str, object]]:
    try:
        choices = json.loads(kept.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: note for key, note in choices.items() if isinstance(note, dict)} if isinstance(choices, dict) else {}


def _measure(runtime: Runtime, image_13SS: torch.Tensor) -> float:
    """Seconds of the fastest of some encodings; the first one, which makes room and compiles, does not count."""
    runtime.encode(image_13SS)
    taken = []
    for _ in range(TRIES):
        start = time.perf_counter()
        runtime.encode(image_13SS)
        taken.append(time.perf_counter() - start)
    return min(taken)
