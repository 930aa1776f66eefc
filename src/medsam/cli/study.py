"""`medsam study`: the paper's studies by one recipe."""

from __future__ import annotations

import sys
from pathlib import Path

from medsam.cli.evaluate import SOME_FAILED
from medsam.cli.flags import Output, ThisTerminal
from medsam.cli.train import STOPPED
from medsam.jobs.study_recipe import Kind


def study(kind: Kind, /, *, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Run one of the paper's studies by a recipe: prepare data, train models, measure and report.

    Args:
        kind: internal: train models and measure them on the internal data (paper, Fig. 3). external: measure the same
            models on data sets that specialists never saw, beside the internal ones (Fig. 4). data-size: train models
            on subsets of growing size (Fig. 5a; the recipe has sizes). task-specific: train one network for each task
            and measure it beside the others (tasks). prompts: measure how answers move with the prompt: margins,
            shifts, axes, clicks (prompts). annotation: compare the time that experts need with and without help, and
            measure boxes over axes (Fig. 5b; times).
        recipe: Of the study, in TOML (docs/evaluation.md).
        output: Folder of data/, train/, runs/ and report-KIND/; a stopped study goes on there, and further ones share it.
    """
    from medsam.jobs.study import run_study
    from medsam.jobs.study_recipe import read_recipe

    result = run_study(
        kind, read_recipe(recipe, kind), output, say=lambda step: print(f"study: {step}", file=sys.stderr)
    )
    if not result.finished:
        print("medsam: the study was stopped; the same command goes on", file=sys.stderr)
        return STOPPED
    terminal.report({"page": str(result.page), "failed": result.failed}, f"{result.ranks}\n{result.page}\n")
    if result.failed:
        print(f"medsam: {result.failed} rows count as failed, with Dice and NSD 0", file=sys.stderr)
    return SOME_FAILED if result.failed else 0
