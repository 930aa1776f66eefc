"""Training runs of tests: started as processes, and what they left read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

from medsam.training.run.monitor import read_metrics

SCRIPT = Path(__file__).with_name("tiny.py")


@contextmanager
def begun(*launcher: str, arguments: tuple[object, ...]) -> Iterator[subprocess.Popen[str]]:
    """Tiny.py, where processes are killed and told to end, in a session of its own: no signal reaches pytest."""
    script = subprocess.Popen(
        [*launcher, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield script
    finally:
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)  # with its children, who may wait for each other
        script.wait()


def run_script(*arguments: object) -> str:
    with begun(sys.executable, "-X", "faulthandler", arguments=arguments) as script:
        said, wrong = script.communicate(timeout=400)
    assert script.returncode == 0, f"ended with {script.returncode}\n{said}{wrong}"
    return said


def weights(run: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(run / name)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(run: Path) -> list[float]:
    return [float(str(line["loss"])) for line in read_metrics(run) if "loss" in line]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    found = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    return found | {tag: [(e.step, e.width) for e in read.Images(tag)] for tag in read.Tags()["images"]}
