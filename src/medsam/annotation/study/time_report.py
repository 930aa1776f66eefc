"""The report of a study: minutes of each case and phase, with and without the model, as tables and as bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medsam.annotation.study.timing import AWAY_SECONDS, IDLE_SECONDS, PHASES, CaseTime
from medsam.evaluation.figures import COLORS, COLUMN_IN, Plate
from medsam.evaluation.tables import Cell, Table

ARMS = ((False, "without"), (True, "with"))
MINUTES = tuple(phase.capitalize() for phase in PHASES)
NOTE = (
    f"Minutes between events. A pause of more than {IDLE_SECONDS:g} s is idle and in no phase; one of more than "
    f"{AWAY_SECONDS / 60:g} min is neither."
)


def tabulate_times(times: Sequence[CaseTime]) -> Table:
    """Tabulate the minutes of each case, annotator and phase."""
    rows = tuple(
        (
            one.case, one.annotator, "with" if one.with_model else "without",
            *(_minutes(one.seconds[phase]) for phase in PHASES), _minutes(one.total), _minutes(one.idle),
        ) for one in times
    )  # fmt: skip
    columns = ("Case", "Annotator", "Model", *MINUTES, "Total", "Idle")
    return Table("times", "Minutes of each case", _named(columns), rows, note=NOTE)


def tabulate_annotators(times: Sequence[CaseTime]) -> Table:
    """Tabulate mean minutes a case of each annotator, with and without the model, and the share that the model saves."""
    rows: list[tuple[Cell, ...]] = []
    for annotator in sorted({one.annotator for one in times}):
        alone = _mean([one.total for one in _of(times, annotator, with_model=False)])
        for with_model, arm in ARMS:
            own = _of(times, annotator, with_model=with_model)
            if own:
                total = _mean([one.total for one in own])
                saved = f"{100 * (1 - total / alone):.1f}" if with_model and alone > 0 else ""
                phases = (_minutes(_mean([one.seconds[phase] for one in own])) for phase in PHASES)
                idle = _minutes(_mean([one.idle for one in own]))
                rows.append((annotator, arm, len(own), *phases, _minutes(total), idle, saved))
    columns = ("Annotator", "Model", "Cases", *MINUTES, "Total", "Idle", "Saved (%)")
    return Table("annotators", "Mean minutes a case", _named(columns), tuple(rows), note=NOTE)


def draw_times(times: Sequence[CaseTime]) -> Plate:
    """Draw bars of the mean minutes a case of each annotator, without and with the model, split by phase; dots are cases.

    Source: paper, Fig. 5b.
    """
    from matplotlib.figure import Figure

    annotators = sorted({one.annotator for one in times})
    figure = Figure(figsize=(max(COLUMN_IN, 0.9 * len(annotators)), 2.6), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)  # where dots stand beside each other says nothing
    ticks: dict[float, str] = {}
    for a, annotator in enumerate(annotators):
        for with_model, arm in ARMS:
            own = _of(times, annotator, with_model=with_model)
            if not own:
                continue
            x, floor = a + (0.2 if with_model else -0.2), 0.0
            for k, phase in enumerate(PHASES):
                height = _mean([one.seconds[phase] for one in own]) / 60
                axes.bar(x, height, 0.34, bottom=floor, color=COLORS[k], label=phase if not ticks else None)
                floor += height
            spread = x + rng.uniform(-0.1, 0.1, len(own))
            axes.plot(spread, [one.total / 60 for one in own], "o", color="black", markersize=2, markeredgewidth=0)
            ticks[x] = f"{arm}\n{annotator}" if len(annotators) > 1 else arm
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_ylabel("Minutes a case")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(PHASES), frameon=False, borderaxespad=0.2,
                handletextpad=0.4, columnspacing=1.0)  # fmt: skip
    caption = (
        f"Mean time a case of {len(annotators)} {'annotator' if len(annotators) == 1 else 'annotators'} without and "
        f"with the model, by phase; dots: cases. Pauses of more than {IDLE_SECONDS:g} s do not count."
    )
    return Plate("times", caption, figure, tabulate_times(times))


def _of(times: Sequence[CaseTime], annotator: str, *, with_model: bool) -> list[CaseTime]:
    return [one for one in times if one.annotator == annotator and one.with_model == with_model]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.2f}"


def _named(columns: Sequence[str]) -> tuple[str, ...]:
    """The phase "model" apart from the column that says whether there was one."""
    first = columns.index("Model")
    return tuple("Model's answer" if name == "Model" and n != first else name for n, name in enumerate(columns))
