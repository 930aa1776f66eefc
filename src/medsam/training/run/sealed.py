"""Folders of checkpoints that are whole or absent: made under another name, sealed with checksums, the last two kept.

What lies in them is the business of who fills them.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from medsam.errors import DataError, OutputError
from medsam.files.atomic import remove_folder, replacing
from medsam.files.lock import LOCK
from medsam.models.weights.file import digest

FORMAT = 1
KEPT = 2
WEIGHTS, STATE = "weights.safetensors", "state.json"
log = logging.getLogger("medsam")


@dataclass(frozen=True)
class RunPosition:
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


def write_checkpoint(run: Path, progress: RunPosition, fill: Callable[[Path], None]) -> Path:
    """Write the checkpoint of one process and drop all but the last two.

    Args:
        run: Folder of the run.
        progress: Where it is.
        fill: Writes the files into the folder it is given.

    Raises:
        OutputError: no room or no permission; earlier checkpoints are untouched.
    """
    folder = locate_checkpoint(run, progress)
    with ExitStack() as stack:
        temporary = begin_folder(folder, stack, progress)
        if temporary is not None:
            with refuse_disk(folder):
                fill(temporary)
            seal_folder(folder, temporary, stack, progress)
    return folder


def locate_checkpoint(run: Path, progress: RunPosition) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{progress.step:08d}"


def begin_folder(folder: Path, stack: ExitStack, progress: RunPosition) -> Path | None:
    """A folder to fill that gets its name when the stack is closed; None where the checkpoint is there already.

    Such a one may be of before the measurement at its step, and then learns what that gave.
    """
    if folder.is_dir():
        there = _read_whole(folder)
        if there is not None:
            if replace(there, seconds=progress.seconds) != progress:
                with refuse_disk(folder), replacing(folder / STATE) as changed:
                    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
                    changed.write_text(json.dumps({**state, "progress": asdict(progress)}, indent=1) + "\n", "utf-8")
            return None
        remove_folder(folder)
    with refuse_disk(folder):
        temporary = stack.enter_context(replacing(folder, what="the checkpoint"))
        temporary.mkdir()
    return temporary


def seal_folder(folder: Path, temporary: Path, stack: ExitStack, progress: RunPosition) -> None:
    """Give a filled folder its name, and drop all but the last two.

    Args:
        folder: Its name.
        temporary: Given by begin_folder, filled since.
        stack: Of begin_folder.
        progress: Where the run is.

    Raises:
        OutputError: no room or no permission; earlier checkpoints are untouched.
    """
    with refuse_disk(folder):
        _seal(temporary, progress)
        stack.close()  # the folder gets its name
    for old in list_checkpoints(folder.parents[1])[:-KEPT]:
        remove_folder(old)


def _seal(folder: Path, progress: RunPosition) -> None:
    """Note the progress and the checksum of every file."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    hashes = {file.relative_to(folder).as_posix(): digest(file) for file in files}
    state = {"format": FORMAT, "progress": asdict(progress), "sha256": hashes}
    (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


@contextmanager
def refuse_disk(folder: Path) -> Iterator[None]:
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


def list_checkpoints(run: Path) -> list[Path]:
    """Folders of a run's checkpoints, the latest last."""
    return sorted((run / "checkpoints").glob("step-*"))


def sweep(run: Path) -> None:
    """Remove what killed runs left half done."""
    for left in (run / "checkpoints").glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in [*run.glob(".*"), *(run / "examples").glob(".*")]:
        if left.is_file() and left.name != LOCK:
            left.unlink(missing_ok=True)


def find_latest(run: Path) -> tuple[Path | None, RunPosition]:
    """Find the latest whole checkpoint of a run and where it was; a damaged one is passed over for the one before it.

    Raises:
        DataError: checkpoints are there, and none is whole.
    """
    found = list_checkpoints(run)
    for folder in reversed(found):
        progress = _read_whole(folder)
        if progress is not None:
            return folder, progress
        log.warning("%s is damaged; going on from the checkpoint before it", folder)
    if found:
        raise DataError(
            f"none of the {len(found)} checkpoints in {run} is whole",
            expected="files with the checksums of their state.json",
            fix="start the run again in a new folder",
        )
    return None, RunPosition()


def _read_whole(folder: Path) -> RunPosition | None:
    """The progress of a checkpoint, or None where a file is missing or has another checksum."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT or any(digest(folder / n) != sha for n, sha in state["sha256"].items()):
            return None
        return replace(RunPosition(), **state["progress"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
