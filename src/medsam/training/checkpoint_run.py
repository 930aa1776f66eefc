"""Checkpoints of a run: a folder each, whole or absent, with checksums; the last two are kept.

There is no state of a random generator in them: every random choice of a run is a function of its seed and the number
of the draw, so the step alone says where in the data a run is.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from medsam.errors import CheckpointError, DataError, OutputError
from medsam.io import atomic
from medsam.io.lock import LOCK
from medsam.models.checkpoint import save_checkpoint
from medsam.models.manifest import Manifest
from medsam.models.medsam import MedSAM
from medsam.models.weights_file import digest, replacing
from medsam.training import optimizer_state
from medsam.training.distributed import Processes, divided_as, gathered_tensor
from medsam.training.parts import Average, learning
from medsam.training.room import Need, size_of

FORMAT = 1
KEPT = 2
WEIGHTS, AVERAGE, STATE = "weights.safetensors", "average.safetensors", "state.json"
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
    """What a checkpoint holds besides the progress.

    Args:
        model: In training.
        manifest: Of the weights.
        optimizer: Over what learns.
        average: Of what learns, where one is kept.
        empty: The model without memory for weights, where those are divided among processes.
    """

    model: MedSAM
    manifest: Manifest
    optimizer: Optimizer
    average: Average | None
    empty: MedSAM | None = None

    def whole(self) -> MedSAM:
        """The model, or a copy with whole weights where they are divided; all processes call it together."""
        if self.empty is None:
            return self.model
        tensors = {name: gathered_tensor(tensor.detach()) for name, tensor in self.model.state_dict().items()}
        copied = copy.deepcopy(self.empty)
        copied.load_state_dict(tensors, strict=True, assign=True)
        return copied


def room(run: Path, learner: Learner) -> Need:
    """For the weights a run writes, three checkpoints at once and two models, less what is there.

    Raises:
        OutputError: the folder cannot be read.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in learner.model.state_dict().values())
    learnt = sum(tensor.numel() * tensor.element_size() for tensor in learning(learner.model).values())
    moments = learnt * (2 if learner.average is None else 3)
    with _refused(run):
        there = size_of(run / "checkpoints") + sum(file.stat().st_size for file in run.glob("*") if file.is_file())
    wanted = (KEPT + 1) * (weights + moments) + 2 * weights
    return Need(run, max(0, wanted - there), "the checkpoints and weights of this run")


def make_folder(run: Path) -> None:
    """Make the folder of a run.

    Raises:
        OutputError: it cannot be made.
    """
    with _refused(run):
        run.mkdir(parents=True, exist_ok=True)


def save(run: Path, learner: Learner, progress: Progress, processes: Processes) -> Path:
    """Write a checkpoint and drop all but the last two; all processes call it together.

    Raises:
        OutputError: no room or no permission; earlier checkpoints are untouched.
    """
    folder = run / "checkpoints" / f"step-{progress.step:08d}"
    with ExitStack() as stack:
        temporary = processes.agreed(partial(_begin, folder, stack, progress))
        if temporary is None:
            return folder
        with _refused(folder):
            optimizer_state.write(temporary, learner.model, learner.optimizer, processes)
        model, average = learner.whole(), {}
        if learner.average is not None:
            average = {name: gathered_tensor(one) for name, one in learner.average.values.items()}

        def complete() -> bool:
            with _refused(folder):
                save_checkpoint(model, learner.manifest, temporary / WEIGHTS)
                if average:
                    save_file({name: one.cpu().contiguous() for name, one in average.items()}, temporary / AVERAGE)
                optimizer_state.check_written(temporary)
                _seal(temporary, progress)
                stack.close()  # the folder gets its name
                _sync(folder.parent)
            for old in checkpoints(run)[:-KEPT]:
                _remove(old)
            return True

        processes.agreed(complete)
    return folder


def _begin(folder: Path, stack: ExitStack, progress: Progress) -> Path | None:
    """A folder to fill that gets its name when the stack is closed; None where the checkpoint is there already.

    Such a one may be of before the measurement at its step, and then learns what that gave.
    """
    if folder.is_dir():
        there = _whole(folder)
        if there is not None:
            if replace(there, seconds=progress.seconds) != progress:
                with _refused(folder), atomic.replacing(folder / STATE) as changed:
                    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
                    changed.write_text(json.dumps({**state, "progress": asdict(progress)}, indent=1) + "\n", "utf-8")
            return None
        _remove(folder)
    with _refused(folder):
        temporary = stack.enter_context(replacing(folder))
        temporary.mkdir()
    return temporary


def _seal(folder: Path, progress: Progress) -> None:
    """Note the progress and the checksum of every file, and have the disk keep all of it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    hashes = {file.relative_to(folder).as_posix(): digest(file) for file in files}
    state = {"format": FORMAT, "progress": asdict(progress), "sha256": hashes}
    (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    for one in [*folder.rglob("*"), folder]:
        _sync(one)


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    """What the disk refuses comes as OSError, and from the writers of tensors as errors of theirs."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise OutputError(
            f"{folder} could not be written ({reason or error:.120})",
            expected="a writable folder with room for the checkpoint",
            fix="free space or write elsewhere, then resume; earlier checkpoints are whole",
        ) from error


def checkpoints(run: Path) -> list[Path]:
    """Folders of a run's checkpoints, the latest last."""
    return sorted((run / "checkpoints").glob("step-*"))


def sweep(run: Path) -> None:
    """Remove what killed runs left half done."""
    for left in (run / "checkpoints").glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in [*run.glob(".*"), *(run / "examples").glob(".*")]:
        if left.is_file() and left.name != LOCK:
            left.unlink(missing_ok=True)


def resume(run: Path, learner: Learner, processes: Processes) -> Progress:
    """Load the latest whole checkpoint of a run, of however many processes; all processes call it together.

    A damaged one is passed over for the one before it.

    Raises:
        DataError: checkpoints are there, and none is whole.
        CheckpointError: they are of another architecture.
    """
    folder, progress = processes.agreed(partial(_latest, run))
    if folder is None:
        return progress
    _load_weights(folder, learner)
    optimizer_state.read(folder, learner.model, learner.optimizer)
    if learner.average is not None:
        kept = load_file(folder / AVERAGE)
        values = learner.average.values
        learner.average.values = {name: divided_as(kept[name].to(v.device), v) for name, v in values.items()}
    return progress


def _latest(run: Path) -> tuple[Path | None, Progress]:
    found = checkpoints(run)
    for folder in reversed(found):
        progress = _whole(folder)
        if progress is not None:
            return folder, progress
        log.warning("%s is damaged; going on from the checkpoint before it", folder)
    if found:
        raise DataError(
            f"none of the {len(found)} checkpoints in {run} is whole",
            expected="files with the checksums of their state.json",
            fix="start the run again in a new folder",
        )
    return None, Progress()


def _whole(folder: Path) -> Progress | None:
    """The progress of a checkpoint, or None where a file is missing or has another checksum."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT or any(digest(folder / n) != sha for n, sha in state["sha256"].items()):
            return None
        return replace(Progress(), **state["progress"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _load_weights(folder: Path, learner: Learner) -> None:
    try:
        tensors: dict[str, Tensor] = load_file(folder / WEIGHTS)
        if learner.empty is None:
            learner.model.load_state_dict(tensors, strict=True)
        else:
            copy.deepcopy(learner.empty).load_state_dict(tensors, strict=True, assign=True)  # names and shapes
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} does not fit the model ({str(error).splitlines()[0]:.120})",
            expected="a checkpoint of the same architecture and parts",
            fix="resume with the configuration the run was started with",
        ) from None
    if learner.empty is not None:
        with torch.no_grad():
            for name, tensor in learner.model.state_dict().items():
                tensor.copy_(divided_as(tensors[name], tensor))


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
