"""`medsam study`: the paper's studies by one recipe."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from medsam.cli.evaluate import SOME_FAILED
from medsam.cli.flags import Output, ThisTerminal
from medsam.cli.terminal import Terminal
from medsam.cli.train import STOPPED
from medsam.jobs.study_recipe import Kind

app = App(
    name="study",
    help="The paper's studies by a recipe: internal, external, data-size, task-specific, prompts, annotation.",
    help_format="plaintext",
)


@app.command
def internal(*, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Train and measure models on the internal data (paper, Fig. 3).

    Example: medsam study internal --recipe recipes/study-two-cores.toml -o study/

    Parameters
    ----------
    recipe
        Of the study, in TOML (docs/evaluation.md).
    output
        Folder of data/, train/, runs/ and report-internal/; a stopped study goes on there, and further ones share it.
    """
    return _run("internal", recipe, output, terminal)


@app.command
def external(*, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Measure the same models on data sets that specialists never saw, beside the internal ones (paper, Fig. 4).

    Example: medsam study external --recipe recipes/study-two-cores.toml -o study/

    Parameters
    ----------
    recipe
        Of the study, in TOML (docs/evaluation.md).
    output
        Folder of data/, train/, runs/ and report-external/.
    """
    return _run("external", recipe, output, terminal)


@app.command(name="data-size")
def data_size(*, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Train models on subsets of growing size and measure them (paper, Fig. 5a).

    Example: medsam study data-size --recipe recipes/study-paper.toml -o study/

    Parameters
    ----------
    recipe
        Of the study, with sizes.
    output
        Folder of data-SIZE/, train/, runs/ and report-data-size/.
    """
    return _run("data-size", recipe, output, terminal)


@app.command(name="task-specific")
def task_specific(*, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Train one network for each task and measure it beside the others.

    Example: medsam study task-specific --recipe recipes/study-two-cores.toml -o study/

    Parameters
    ----------
    recipe
        Of the study, with tasks.
    output
        Folder of train-tasks/, runs/ and report-task-specific/.
    """
    return _run("task-specific", recipe, output, terminal)


@app.command
def prompts(*, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Measure how answers move with the prompt: margins, shifts, axes, clicks.

    Example: medsam study prompts --recipe recipes/study-two-cores.toml -o study/

    Parameters
    ----------
    recipe
        Of the study, with prompts.
    output
        Folder of runs/ and report-prompts/.
    """
    return _run("prompts", recipe, output, terminal)


@app.command
def annotation(*, recipe: Path, output: Output, terminal: ThisTerminal) -> int:
    """Compare the time that experts need with and without help, and measure boxes over axes (paper, Fig. 5b).

    Example: medsam study annotation --recipe recipes/study-two-cores.toml -o study/

    Parameters
    ----------
    recipe
        Of the study, with times.
    output
        Folder of runs/ and report-annotation/.
    """
    return _run("annotation", recipe, output, terminal)


def _run(kind: Kind, recipe: Path, output: Path, terminal: Terminal) -> int:
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
