"""The folder of a run: the names of its files, who may train in it, and what it holds a resumed run to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from medsam.errors import DataError
from medsam.files.atomic import write_text
from medsam.files.disk_space import Need, check_room
from medsam.files.lock import hold_folder
from medsam.training.config import FREE_ON_RESUME, TrainConfig, compare_configs, load_config
from medsam.training.run import checkpoint as checkpoint_run
from medsam.training.run import sealed
from medsam.training.run.state import TrainingRun
from medsam.training.samples.dataset import choose_order
from medsam.training.samples.sources import SampleSource

CONFIG, DATA, MODEL, BEST, CURVE = "config.json", "data.json", "model.safetensors", "best.safetensors", "curve.png"
SUMS = "SHA256SUMS"


def claim_folder(folder: Path, config: TrainConfig, held: ExitStack, *, resume: bool, wait: float) -> bool:
    """Refuse a folder that has a run already, or hold the run that goes on to its configuration.

    Args:
        folder: Of the run.
        config: Asked for now.
        held: Keeps the lock of a folder that has a run.
        resume: Go on with the run that is there.
        wait: Seconds that loader processes of a killed run may take to be gone.

    Returns:
        Whether the folder has a run.

    Raises:
        DataError: a run is there and is not to be resumed, or has another configuration.
        OutputError: another process trains in the folder.
    """
    record = folder / CONFIG
    if not record.is_file():
        return False
    if not resume:
        raise explain_taken(folder)
    held.enter_context(hold_folder(folder, wait=wait))
    sealed.sweep(folder)
    changed = {n: v for n, v in compare_configs(load_config(record), config).items() if n not in FREE_ON_RESUME}
    refuse_changes(folder, changed, "leave --config out to go on, or start a new run with -o")
    return True


def begin_run(run: TrainingRun, train: SampleSource, new: ExitStack | None) -> None:
    """Note the configuration and the data, once nothing speaks against the run.

    Args:
        run: About to begin or to go on.
        train: Samples to learn from.
        new: Keeps the lock of the folder of a new run, which is made here; None where the run goes on.

    Raises:
        DataError: the run goes on with other data, or another process began a run here meanwhile.
        OutputError: the disk has no room for the run, or the folder cannot be made.
    """
    data = {"train": train.identity(), "tune": None if run.tune is None else run.tune.identity()}
    data["teacher"] = None if run.teacher is None else run.teacher.predictor.weights
    refuse_other_data(run.folder, data)
    check_room(estimate_needs(run, train))
    if new is not None:
        checkpoint_run.make_folder(run.folder)
        new.enter_context(hold_folder(run.folder))
        if (run.folder / CONFIG).is_file():  # somebody else was faster
            raise explain_taken(run.folder)
    write_record(run.folder, data, CONFIG, run.config.to_json())


def refuse_changes(folder: Path, changed: Mapping[str, tuple[object, object]], fix: str) -> None:
    """Hold a run that goes on to its configuration.

    Args:
        folder: Of the run.
        changed: From compare_configs.
        fix: What to do about it.

    Raises:
        DataError: something changed.
    """
    if changed:
        text = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
        raise DataError(
            f"the run in {folder} was started with another configuration ({text})", expected="the same", fix=fix
        )


def refuse_other_data(folder: Path, data: Mapping[str, object]) -> None:
    """Hold a run that goes on to its data.

    Args:
        folder: Of the run.
        data: What identifies each part of them.

    Raises:
        DataError: the record of the run has other ones.
    """
    record = folder / DATA
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    changed = [name for name, was in known.items() if data[name] != was]
    if changed:
        raise DataError(
            f"the run in {folder} was started with other data ({', '.join(changed)})",
            expected="the same samples in the same order, and the same teacher"
            if "teacher" in data
            else "the same samples in the same order",
            fix="bring the data back as they were, or start a new run with -o",
        )


def write_record(folder: Path, data: Mapping[str, object], name: str, config: str) -> None:
    """Write what a run is held to when it goes on: what identifies its data, and its configuration under a name.

    Raises:
        OutputError: the disk refused.
    """
    for path, text in ((folder / DATA, json.dumps(data, indent=1) + "\n"), (folder / name, config)):
        write_text(path, text)


def estimate_needs(run: TrainingRun, train: SampleSource) -> list[Need]:
    """List what a run will write: its checkpoints and weights, and the features that it keeps.

    Raises:
        OutputError: the folder cannot be read.
    """
    needs = [checkpoint_run.estimate_need(run.folder, run.learner)]
    kept = run.teacher or run.features
    if kept is not None:
        drawn = choose_order(train, run.config).different(run.total * run.config.global_batch)
        measured = 0 if run.tune is None or run.features is None else run.tune.pictures
        needs.append(kept.estimate_need(min(drawn, train.pictures) + min(measured, run.config.validation_images)))
    return needs


def explain_taken(folder: Path) -> DataError:
    """The error for a folder that has a run; the caller raises it."""
    return DataError(f"{folder} has a run already", expected="a new folder", fix="pass --resume, or another -o")
