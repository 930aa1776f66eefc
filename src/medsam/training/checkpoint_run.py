"""Checkpoints of a run: a folder each, whole or absent, with checksums; the last two are kept.

There is no state of a random generator in them: every random choice of a run is a function of its seed and the number
of the draw, so the step alone says where in the data a run is.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from medsam.errors import CheckpointError, DataError
from medsam.models.checkpoint import save_checkpoint
from medsam.models.manifest import Manifest
from medsam.models.medsam import MedSAM
from medsam.models.weights_file import digest, replacing
from medsam.training.parts import Average

FORMAT = 1
KEPT = 2
WEIGHTS, AVERAGE, OPTIMIZER, STATE = "weights.safetensors", "average.safetensors", "optimizer.pt", "state.json"
log = logging.getLogger("medsam")


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Args:
        step: Steps done; the next draw is step * global_batch.
        skipped: Steps among them whose loss was not finite.
        skipped_in_row: The last of them without a good one since.
        best_score: Highest measured on the tuning split; None before the first.
        best_step: When.
        measured_step: When the tuning split was measured last.
        seconds: Spent in all sittings.
    """

    step: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    best_score: float | None = None
    best_step: int | None = None
    measured_step: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Learner:
    """What a checkpoint holds besides the progress."""

    model: MedSAM
    manifest: Manifest
    optimizer: Optimizer
    average: Average | None


def save(run: Path, learner: Learner, progress: Progress) -> Path:
    """Write a checkpoint and drop all but the last two.

    Raises:
        OutputError: no room or no permission; earlier checkpoints are untouched.
    """
    folder = run / "checkpoints" / f"step-{progress.step:08d}"
    if folder.is_dir():
        if _whole(folder) is not None:
            return folder
        _remove(folder)
    with replacing(folder) as temporary:
        temporary.mkdir()
        save_checkpoint(learner.model, learner.manifest, temporary / WEIGHTS)
        torch.save(learner.optimizer.state_dict(), temporary / OPTIMIZER)
        if learner.average is not None:
            save_file(
                {name: one.cpu().contiguous() for name, one in learner.average.values.items()}, temporary / AVERAGE
            )
        hashes = {file.name: digest(file) for file in sorted(temporary.iterdir())}
        state = {"format": FORMAT, "progress": asdict(progress), "sha256": hashes}
        (temporary / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
    _sync(folder.parent)
    for old in checkpoints(run)[:-KEPT]:
        _remove(old)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """Folders of a run's checkpoints, the latest last."""
    return sorted((run / "checkpoints").glob("step-*"))


def sweep(run: Path) -> None:
    """Remove what killed runs left half done."""
    for left in (run / "checkpoints").glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in [*run.glob(".*"), *(run / "examples").glob(".*")]:
        if left.is_file():
            left.unlink(missing_ok=True)


def resume(run: Path, learner: Learner) -> Progress:
    """Load the latest whole checkpoint of a run; a damaged one is passed over for the one before it.

    Raises:
        DataError: checkpoints are there, and none is whole.
        CheckpointError: they are of another architecture.
    """
    found = checkpoints(run)
    for folder in reversed(found):
        progress = _whole(folder)
        if progress is None:
            log.warning("%s is damaged; going on from the checkpoint before it", folder)
            continue
        _load_weights(folder, learner.model)
        learner.optimizer.load_state_dict(torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True))
        if learner.average is not None:
            kept = load_file(folder / AVERAGE)
            learner.average.values = {n: kept[n].to(v.device) for n, v in learner.average.values.items()}
        return progress
    if found:
        raise DataError(
            f"none of the {len(found)} checkpoints in {run} is whole",
            expected="files with the checksums of their state.json",
            fix="start the run again in a new folder",
        )
    return Progress()


def _whole(folder: Path) -> Progress | None:
    """The progress of a checkpoint, or None where a file is missing or has another checksum."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT or any(digest(folder / n) != sha for n, sha in state["sha256"].items()):
            return None
        return replace(Progress(), **state["progress"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _load_weights(folder: Path, model: nn.Module) -> None:
    try:
        tensors: dict[str, Tensor] = load_file(folder / WEIGHTS)
        model.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} does not fit the model ({str(error).splitlines()[0]:.120})",
            expected="a checkpoint of the same architecture and parts",
            fix="resume with the configuration the run was started with",
        ) from None


def _remove(folder: Path) -> None:
    """Take a checkpoint away so that a kill in between leaves no half one under its name."""
    hidden = folder.with_name(f".{folder.name}")
    os.replace(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
