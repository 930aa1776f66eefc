"""`medsam runs`: list training runs and compare them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from medsam.cli.flags import Overwrite, ThisTerminal

if TYPE_CHECKING:
    from medsam.training.run.history import RunSummary

SOME_FAULTY = 3  # listed, less what cannot be read


def runs(
    folders: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    figure: Annotated[Path | None, Parameter(name=["--figure", "-f"])] = None,
    overwrite: Overwrite = False,
    terminal: ThisTerminal,
) -> int:
    """List training runs; of several, say in what their configurations differ.

    Args:
        folders: Runs, or folders that hold runs.
        figure: Draw the curves of all of them into this .png, .svg or .pdf.
    """
    from dataclasses import asdict

    from medsam.errors import DataError
    from medsam.jobs.outputs import check_outputs
    from medsam.training.run.history import find_runs, name_runs, summarize_run

    check_outputs([figure], [], overwrite=overwrite)
    found, faulty = [], 0
    for run in dict.fromkeys(run for folder in folders for run in find_runs(folder)):
        try:
            found.append(summarize_run(run))
        except DataError as error:
            faulty += 1
            print(f"medsam: left out: {' '.join(str(error).split())}", file=sys.stderr)
    terminal.answer([{**asdict(one), "run": str(one.run)} for one in found], lambda: _tables(found))
    if figure is not None:
        from medsam.training.run.monitor import draw_curves

        draw_curves(dict(zip(name_runs([one.run for one in found]), [one.run for one in found], strict=True)), figure)
    return SOME_FAULTY if faulty else 0


def _tables(found: list[RunSummary]) -> None:
    from rich.console import Console
    from rich.table import Table

    from medsam.training.run.history import compare_settings, name_runs

    called = name_runs([one.run for one in found])
    table = Table("run", "base", "state", box=None)
    for heading in ("step", "loss", "Dice before", "best", "at step", "last", "hours"):
        table.add_column(heading, justify="right")
    for name, one in zip(called, found, strict=True):
        numbers = (one.loss, one.dice_before, one.dice_best)
        shown = ["-" if value is None else f"{value:.4f}" for value in numbers]
        last = "-" if one.dice_last is None else f"{one.dice_last:.4f}"
        best = "-" if one.best_step is None else str(one.best_step)
        state = "finished" if one.finished else "stopped"
        table.add_row(name, one.base, state, str(one.step), *shown, best, last, f"{one.seconds / 3600:.2f}")
    console = Console()
    console.print(table)
    rows = compare_settings([one.run for one in found]) if len(found) > 1 else {}
    if rows:
        settings = Table("setting", *called, box=None)
        for setting, values in rows.items():
            settings.add_row(setting, *map(str, values))
        console.print(settings)
