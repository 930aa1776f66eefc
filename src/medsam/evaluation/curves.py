"""Figures of studies: boxes moved, clicks, training size, review order, runs side by side, annotation time.

Shapes: T tasks, K methods.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError
from medsam.evaluation.figures import (
    COLUMN_IN,
    PAGE_IN,
    Plate,
    add_legend,
    count,
    limit_scores,
    new_figure,
    pick_color,
    pick_marker,
    wrap_name,
)
from medsam.evaluation.measure import Score
from medsam.evaluation.robustness import SEEN, WRONG, PromptCurve, TriageCurve, count_clicks
from medsam.evaluation.tables import TITLES, Cell, Measure, Table, TaskScores, median_table
from medsam.io.text import read_text

SIZED = re.compile(r"(.+)@(\d+)")  # the name of a model trained on so many samples


def draw_prompts(curves: Sequence[PromptCurve], methods: Sequence[str], kind: str) -> Plate | None:
    """Draw the Dice against the margin (shrunk boxes below 0) or the shift: medians and quartiles of task medians."""
    chosen = [curve for curve in curves if curve.kind == kind]
    if not chosen:
        return None
    figure, axes = new_figure(COLUMN_IN, 2.5)
    rows: list[tuple[Cell, ...]] = []
    for k, method in enumerate(methods):
        of = [curve for curve in chosen if curve.method == method]
        px = sorted({p for curve in of for p in curve.px})
        values = [[c.dice[c.px.index(p)] for c in of if p in c.px] for p in px]
        if not px:
            continue
        low, middle, high = np.array([np.quantile(one, (0.25, 0.5, 0.75)) for one in values]).T
        axes.fill_between(px, low, high, color=pick_color(k), alpha=0.12, linewidth=0)
        axes.plot(px, middle, marker=pick_marker(k), color=pick_color(k), markersize=3.5, label=method)
        rows += [(method, p, len(one), float(a), float(b), float(c)) for p, one, a, b, c in
                 zip(px, values, low, middle, high, strict=True)]  # fmt: skip
    if kind == "margin":
        axes.axvline(0, color="#888888", linewidth=0.6, linestyle=":")
    names = {"margin": "Margin around the tight box (px of 1024)", "shift": "Shift of the tight box (px of 1024)"}
    axes.set(xlabel=names[kind], ylabel="Median Dice of a task")
    axes.set_ylim(bottom=0, top=1)
    add_legend(axes)
    caption = (
        f"Dice against the {kind} of the box, in pixels of a 1024 x 1024 picture: medians and quartiles of task medians."
        + (" Below 0 boxes are too small." if kind == "margin" else "")
    )
    columns = ("Model", "px", "Tasks", "First quartile", "Median", "Third quartile")
    return Plate(f"prompt-{kind}", caption, figure, Table(f"prompt-{kind}", caption, columns, tuple(rows)))


def draw_clicks(scores: Sequence[Score], methods: Sequence[str]) -> Plate | None:
    """Draw the share of cases that have 90 % Dice after so many clicks; None where nobody answered clicks."""
    counts = count_clicks(scores)
    if not counts:
        return None
    figure, axes = new_figure(COLUMN_IN, 2.3)
    most = max(int(s.prompt.removeprefix("clicks")) for s in scores if s.prompt.startswith("clicks"))
    rows: list[tuple[Cell, ...]] = []
    for k, method in enumerate(methods):
        if method not in counts:
            continue
        share = [float((counts[method] <= n).mean()) for n in range(1, most + 1)]
        axes.plot(range(1, most + 1), share, marker=pick_marker(k), color=pick_color(k), markersize=3.5, label=method)
        rows += [(method, n, len(counts[method]), one) for n, one in enumerate(share, start=1)]
    axes.set(xlabel="Clicks", ylabel="Share of cases with 90 % Dice", ylim=(0, 1))
    axes.set_xticks(range(1, most + 1))
    add_legend(axes)
    refused = [method for method in methods if method not in counts]
    caption = "Share of cases that reach 90 % Dice by so many simulated clicks, each where the answer was wrong most."
    caption += f" Without clicks: {', '.join(refused)}." if refused else ""
    return Plate(
        "clicks", caption, figure, Table("clicks", caption, ("Model", "Clicks", "Cases", "Share"), tuple(rows))
    )


def draw_sizes(tasks: Sequence[TaskScores], runs: Sequence[str], measure: Measure = "dice") -> Plate | None:
    """Draw the measure against the number of training samples (paper, Fig. 5a); None where no model's name tells it.

    Args:
        tasks: With methods named NAME@SIZE.
        runs: Of each task, the run it comes from.
        measure: What is drawn.
    """
    methods = list(tasks[0].scores)
    sized = [(found[1], int(found[2]), k) for k, name in enumerate(methods) if (found := SIZED.fullmatch(name))]
    if not sized:
        return None
    medians_TK = median_table(tasks, measure)
    figure, axes = new_figure(COLUMN_IN, 2.4)
    rows: list[tuple[Cell, ...]] = []
    lines = [(family, run) for family in dict.fromkeys(f for f, _, _ in sized) for run in dict.fromkeys(runs)]
    for n, (family, run) in enumerate(lines):
        inside = [t for t, one in enumerate(runs) if one == run]
        points = sorted((size, k) for name, size, k in sized if name == family)
        x = [size for size, _ in points]
        low, middle, high = np.array([np.quantile(medians_TK[inside, k], (0.25, 0.5, 0.75)) for _, k in points]).T
        axes.fill_between(x, low, high, color=pick_color(n), alpha=0.12, linewidth=0)
        label = f"{family}, {run}" if len(set(runs)) > 1 else family
        axes.plot(x, middle, marker=pick_marker(n), color=pick_color(n), markersize=3.5, label=label)
        rows += [(family, run, s, len(inside), float(a), float(b), float(c))
                 for s, a, b, c in zip(x, low, middle, high, strict=True)]  # fmt: skip
    axes.set_xscale("log")
    ticks = sorted({size for _, size, _ in sized})
    axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
    axes.minorticks_off()
    axes.set(xlabel="Training samples", ylabel=f"Median {TITLES[measure]} of a task")
    axes.set_ylim(0, 1)
    add_legend(axes)
    caption = f"{TITLES[measure]} against the number of training samples: medians and quartiles of task medians."
    columns = ("Model", "Run", "Samples", "Tasks", "First quartile", "Median", "Third quartile")
    return Plate("sizes", caption, figure, Table("sizes", caption, columns, tuple(rows)))


def draw_runs(
    tasks: Sequence[TaskScores], runs: Sequence[str], measure: Measure, *, order: Sequence[str] = ()
) -> Plate | None:
    """Draw the task medians of every method, run beside run (paper, Fig. 3a beside 4a); None where there is one run.

    Args:
        tasks: Of all runs.
        runs: Of each task, the run it comes from.
        measure: What is drawn.
        order: Of the runs, from the left; that of the tasks without it.
    """
    names = sorted(set(runs), key=[*order, *runs].index)
    if len(names) < 2:
        return None
    methods, medians_TK = list(tasks[0].scores), median_table(tasks, measure)
    figure, axes = new_figure(PAGE_IN if len(methods) > 4 else COLUMN_IN, 2.6)
    width, rng = 0.8 / len(names), np.random.default_rng(0)  # where dots stand beside each other says nothing
    rows: list[tuple[Cell, ...]] = []
    for r, name in enumerate(names):
        inside = np.array([one == name for one in runs])
        for k, method in enumerate(methods):
            values, x = medians_TK[inside, k], k + (r - (len(names) - 1) / 2) * width
            box = axes.boxplot(values, positions=[x], widths=0.85 * width, showfliers=False, patch_artist=True,
                               medianprops={"color": "black", "linewidth": 1.2})  # fmt: skip
            box["boxes"][0].set(facecolor=pick_color(r), alpha=0.35, linewidth=0.7)
            dots = x + rng.uniform(-0.25, 0.25, len(values)) * width
            axes.plot(dots, values, pick_marker(r), color=pick_color(r), markersize=2.6, markeredgewidth=0, alpha=0.9,
                      label=f"{name} ({count(len(values), 'task')})" if k == 0 else None)  # fmt: skip
            q = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
            rows.append((name, method, len(values), *q))
    axes.set_xticks(range(len(methods)), [wrap_name(method, len(methods)) for method in methods])
    axes.set_ylabel(f"Median {TITLES[measure]} of a task")
    limit_scores(axes, medians_TK)
    add_legend(axes)
    caption = f"Median {TITLES[measure]} of tasks, run beside run. Line: median; box: quartiles; dots: tasks."
    columns = ("Run", "Model", "Tasks", "First quartile", "Median", "Third quartile")
    return Plate(f"runs-{measure}", caption, figure, Table(f"runs-{measure}", caption, columns, tuple(rows)))


def draw_triage(curves: Mapping[str, TriageCurve], methods: Sequence[str]) -> Plate | None:
    """Draw the share of wrong masks seen against the share of slices reviewed, the least certain first."""
    chosen = {method: curve for method, curve in curves.items() if sum(curve.wrong)}
    if not chosen:
        return None
    figure, axes = new_figure(COLUMN_IN, 2.6)
    axes.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=0.7)
    axes.axhline(SEEN, color="#bbbbbb", linestyle=":", linewidth=0.6)
    rows: list[tuple[Cell, ...]] = []
    for k, method in enumerate(methods):
        if method not in chosen:
            continue
        curve = chosen[method]
        seen = np.cumsum(curve.wrong) / sum(curve.wrong)
        x = np.arange(1, len(seen) + 1) / len(seen)
        label = f"{method}: 90 % of errors in {100 * curve.needed:.0f} % of slices"
        axes.plot([0, *x], [0, *seen], color=pick_color(k), label=label)
        axes.plot(curve.needed, SEEN, pick_marker(k), color=pick_color(k), markersize=4)
        rows += [(method, float(a), float(b)) for a, b in zip(x, seen, strict=True)]
    axes.set(xlabel="Share of slices reviewed", ylabel="Share of wrong masks seen", xlim=(0, 1), ylim=(0, 1.02))
    add_legend(axes, columns=1)
    caption = f"Wrong masks (Dice below {WRONG}) seen by a reader who reviews the slices with the lowest scores first. Dashed: by chance."
    columns = ("Model", "Share of slices", "Share of wrong masks")
    return Plate("triage", caption, figure, Table("triage-curve", caption, columns, tuple(rows)))


@dataclass(frozen=True)
class AnnotationTime:
    """How long an expert took for a case.

    Args:
        expert: Who.
        pipeline: How, as "manual" or "medsam".
        case: Which.
        seconds: How long.
    """

    expert: str
    pipeline: str
    case: str
    seconds: float


def read_times(path: Path) -> list[AnnotationTime]:
    """Read the times of an annotation study: CSV with the columns expert, pipeline, case and seconds.

    Raises:
        DataError: other columns, times that are none, or a case without one in every pipeline.
        InputFileError: no such file.
    """
    rows = csv.DictReader(io.StringIO(read_text(path, "the times of an annotation study, CSV")))
    try:
        times = [AnnotationTime(r["expert"], r["pipeline"], r["case"], float(r["seconds"])) for r in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({type(error).__name__})", expected="columns expert, pipeline, case and seconds",
            fix="correct it",
        ) from None  # fmt: skip
    pipelines = {one.pipeline for one in times}
    keys = [(one.expert, one.case, one.pipeline) for one in times]
    pairs = {key[:2] for key in keys}
    if (
        not times
        or any(one.seconds <= 0 for one in times)
        or len(set(keys)) < len(keys)
        or len(keys) < len(pairs) * len(pipelines)
    ):
        raise DataError(
            f"{path} has {len(times)} times of {len(pairs)} cases and {len(pipelines)} pipelines",
            expected="one time above 0 for every expert, case and pipeline", fix="complete it",
        )  # fmt: skip
    return times


def draw_times(times: Sequence[AnnotationTime]) -> Plate:
    """Draw the mean time of every expert with each pipeline, and how much is saved (paper, Fig. 5b)."""
    experts, pipelines = (
        list(dict.fromkeys(names)) for names in zip(*((t.expert, t.pipeline) for t in times), strict=True)
    )
    means_EP = np.array([[_mean(times, e, p) for p in pipelines] for e in experts])
    figure, axes = new_figure(COLUMN_IN, 2.3)
    width, rows = 0.8 / len(pipelines), []
    for p, pipeline in enumerate(pipelines):
        x = np.arange(len(experts)) + (p - (len(pipelines) - 1) / 2) * width
        axes.bar(x, means_EP[:, p] / 60, width=0.9 * width, color=pick_color(p), label=pipeline)
        for e, expert in enumerate(experts):
            saved = 100 * (1 - means_EP[e, p] / means_EP[e].max())
            note = f"{means_EP[e, p] / 60:.1f}" + (f"\n-{saved:.0f} %" if saved > 0 else "")
            axes.annotate(note, (x[e], means_EP[e, p] / 60), ha="center", va="bottom", fontsize=6)
            cases = sum(t.expert == expert and t.pipeline == pipeline for t in times)
            rows.append((expert, pipeline, cases, float(means_EP[e, p]), round(float(saved), 2)))
    axes.set_xticks(range(len(experts)), experts)
    axes.set_ylabel("Minutes a case")
    axes.set_ylim(0, means_EP.max() / 60 * 1.22)
    add_legend(axes)
    caption = (
        "Mean annotation time of a case, with the share that is saved against the slowest pipeline of the same expert."
    )
    columns = ("Expert", "Pipeline", "Cases", "Mean seconds", "Saved (%)")
    return Plate("annotation-time", caption, figure, Table("annotation-time", caption, columns, tuple(rows)))


def _mean(times: Sequence[AnnotationTime], expert: str, pipeline: str) -> float:
    chosen: NDArray[np.float64] = np.array([t.seconds for t in times if (t.expert, t.pipeline) == (expert, pipeline)])
    return float(chosen.mean())
