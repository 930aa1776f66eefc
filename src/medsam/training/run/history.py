"""Runs looked back at: where each ended, what it scored, and in what their configurations differ."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from medsam.errors import DataError
from medsam.training.config import load_config
from medsam.training.run.folder import CONFIG, MODEL
from medsam.training.run.monitor import read_curve, read_metrics
from medsam.training.run.sealed import STATE, list_checkpoints


@dataclass(frozen=True)
class RunSummary:
    """A run in a line; Dice is the mean of the medians of modalities on the tuning split.

    Args:
        run: Folder.
        base: What it started from.
        finished: Whether its model was written.
        step: Steps done.
        loss: Mean of the last ten steps.
        dice_before: Before the first step.
        dice_best: Highest.
        best_step: When.
        dice_last: Last measured.
        seconds: Spent up to the last checkpoint.
    """

    run: Path
    base: str
    finished: bool
    step: int
    loss: float | None
    dice_before: float | None
    dice_best: float | None
    best_step: int | None
    dice_last: float | None
    seconds: float


def find_runs(folder: Path) -> list[Path]:
    """Find the run in a folder, or the runs directly below it.

    Raises:
        DataError: neither.
    """
    folder = folder.resolve()
    found = [folder] if (folder / CONFIG).is_file() else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    if not found:
        raise DataError(f"{folder} has no run", expected="a folder made by medsam train -o", fix="check the path")
    return found


def summarize_run(run: Path) -> RunSummary:
    """Sum up what a run left.

    Raises:
        DataError: it cannot be read.
    """
    try:
        config, lines = load_config(run / CONFIG), read_metrics(run)
    except OSError as error:
        raise DataError(
            f"{run} cannot be read ({error.strerror})", expected="a run", fix="move it elsewhere, or repair it"
        ) from None
    steps, losses = read_curve(lines, "loss")
    finite = [loss for loss in losses[-10:] if loss == loss]  # noqa: PLR0124 - what is not NaN
    at, dice = read_curve(lines, "tune_dice")
    best = max(range(len(dice)), key=lambda i: dice[i]) if dice else None
    return RunSummary(
        run=run,
        base=config.base,
        finished=(run / MODEL).is_file(),
        step=int(steps[-1]) if steps else 0,
        loss=sum(finite) / len(finite) if finite else None,
        dice_before=dice[0] if dice else None,
        dice_best=None if best is None else dice[best],
        best_step=None if best is None else int(at[best]),
        dice_last=dice[-1] if dice else None,
        seconds=_seconds(run),
    )


def _seconds(run: Path) -> float:
    try:
        state = json.loads((list_checkpoints(run)[-1] / STATE).read_text(encoding="utf-8"))
        return float(state["progress"]["seconds"])
    except (IndexError, OSError, ValueError, KeyError):
        return 0.0


def name_runs(runs: list[Path]) -> list[str]:
    """Give each run a name: the name of its folder, or the path where several have the same name."""
    return [run.name if sum(other.name == run.name for other in runs) == 1 else str(run) for run in runs]


def compare_settings(runs: list[Path]) -> dict[str, list[object]]:
    """List the settings in which runs differ, with the value of each run; names aside."""
    settings = [asdict(load_config(run / CONFIG)) for run in runs]
    return {
        name: [each[name] for each in settings]
        for name in settings[0]
        if name != "name" and any(each[name] != settings[0][name] for each in settings)
    }
