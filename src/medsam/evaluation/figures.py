"""Figures of score rows at the width of a printed column, each with its data as a table.

Colours are those of Okabe and Ito, which differ for colour-blind readers too; methods differ by their marker as well.

Shapes: T tasks, K methods.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsam.evaluation.tables import (
    TITLES,
    Cell,
    Measure,
    PairedComparison,
    Table,
    TaskScores,
    mark_significance,
    median_table,
    place_methods,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
MARKERS = "osD^vPX*"
COLUMN_IN, PAGE_IN = 3.46, 7.09  # 88 and 180 mm, Nature's column and page
CLOSE_PAIRS = 10  # of methods, from where a cell of a page's width has no room for a decimal
COLUMN_METHODS = 4  # whose names and numbers a column has room for
SIZE_BINS, QUALITY_BINS = 6, 10
STYLE = {
    "font.size": 7, "axes.titlesize": 8, "axes.labelsize": 7, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "lines.linewidth": 0.9, "font.family": "DejaVu Sans", "svg.fonttype": "none", "pdf.fonttype": 42,
    "svg.hashsalt": "medsam",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure with what it shows.

    Args:
        name: Of its files.
        caption: What it shows, as under a printed figure.
        figure: Matplotlib's.
        data: What is drawn.
    """

    name: str
    caption: str
    figure: Figure
    data: Table


@contextmanager
def style() -> Iterator[None]:
    """Set the look of all figures while they are drawn and saved."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def draw_boxes(tasks: Sequence[TaskScores], measure: Measure) -> Plate:
    """Draw box plots of task medians, one a method (paper, Fig. 3a)."""
    methods, medians_TK = list(tasks[0].scores), median_table(tasks, measure)
    figure, axes = new_figure(PAGE_IN if len(methods) > COLUMN_METHODS else COLUMN_IN, 2.4)
    rng = np.random.default_rng(0)  # where dots stand beside each other says nothing
    boxes = axes.boxplot(medians_TK, widths=0.55, showfliers=False, patch_artist=True, whis=1.5,
                         medianprops={"color": "black", "linewidth": 1.2})  # fmt: skip
    for k, box in enumerate(boxes["boxes"]):
        box.set(facecolor=pick_color(k), alpha=0.35, linewidth=0.7)
        x = k + 1 + rng.uniform(-0.16, 0.16, len(tasks))
        axes.plot(
            x, medians_TK[:, k], pick_marker(k), color=pick_color(k), markersize=2.6, markeredgewidth=0, alpha=0.9
        )
        axes.plot(k + 1, medians_TK[:, k].max(), "^", color="black", markersize=4, clip_on=False, zorder=4)
        axes.plot(k + 1, medians_TK[:, k].min(), "v", color="black", markersize=4, clip_on=False, zorder=4)
    axes.set_xticks(range(1, len(methods) + 1), [wrap_name(method, len(methods)) for method in methods])
    axes.set_ylabel(f"Median {TITLES[measure]} of a task")
    limit_scores(axes, medians_TK)
    caption = (
        f"Median {TITLES[measure]} of {count(len(tasks), 'task')}. Line: median; box: quartiles; whiskers: 1.5 times the "
        "interquartile range; triangles: least and largest; dots: tasks."
    )
    return Plate(f"boxes-{measure}", caption, figure, _task_data(f"boxes-{measure}", tasks, measure))


def draw_podium(tasks: Sequence[TaskScores], measure: Measure) -> Plate:
    """Draw a podium plot: a dot a task at its method's place, joined across methods, with the places counted below.

    Source: paper, Fig. 3b; Wiesenfarth et al. 2021.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    methods, medians_TK = list(tasks[0].scores), median_table(tasks, measure)
    places_TK, beside = place_methods(medians_TK), len(methods)
    figure = Figure(figsize=(PAGE_IN if beside > COLUMN_METHODS else COLUMN_IN, 3.2), layout="constrained")
    upper, lower = axes = figure.subplots(2, 1, height_ratios=[3, 1])
    x_TK = (places_TK - 1) * (beside + 1) + np.arange(beside)
    for t in range(len(tasks)):
        order = np.argsort(x_TK[t])
        winner = int(order[0])
        upper.plot(x_TK[t, order], medians_TK[t, order], color=pick_color(winner), linewidth=0.5, alpha=0.5, zorder=1)
    counts_KP = np.array([[int((places_TK[:, k] == p + 1).sum()) for p in range(beside)] for k in range(beside)])
    for k, method in enumerate(methods):
        upper.plot(x_TK[:, k], medians_TK[:, k], pick_marker(k), color=pick_color(k), markersize=3.6, markeredgewidth=0.3,
                   markeredgecolor="white", label=method, clip_on=False)  # fmt: skip
        x = np.arange(beside) * (beside + 1) + k
        lower.bar(x, counts_KP[k], width=0.85, color=pick_color(k))
        for place, number in zip(x.tolist(), counts_KP[k].tolist(), strict=True):
            lower.annotate(str(number), (place, number), ha="center", va="bottom", fontsize=6)
    limit_scores(upper, medians_TK)
    for p in range(1, beside):
        for one in axes:
            one.axvline(p * (beside + 1) - 1, color="#bbbbbb", linewidth=0.5, linestyle=":")
    middle = np.arange(beside) * (beside + 1) + (beside - 1) / 2
    for one in axes:
        one.set_xlim(-0.9, beside * (beside + 1) - 1.1)
    upper.set_xticks([])
    upper.set_ylabel(f"Median {TITLES[measure]} of a task")
    lower.set_xticks(middle, [f"place {p + 1}" for p in range(beside)])
    lower.set_ylabel("Tasks")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.set_ylim(0, max(1, counts_KP.max()) * 1.25)
    add_legend(upper)
    ties = int((np.sort(places_TK, axis=1) != np.arange(1, beside + 1)).any(axis=1).sum())
    caption = (
        f"Upper part: each dot is the median {TITLES[measure]} of one of {count(len(tasks), 'task')}, at the place of its model; "
        "dots of one task are joined in the colour of its best model. Lower part: how often each model took each place. "
        f"Models that tie share the better place ({count(ties, 'task')})."
    )
    rows = tuple((*_task_cells(task), m, float(medians_TK[t, k]), int(places_TK[t, k]))
                 for t, task in enumerate(tasks) for k, m in enumerate(methods))  # fmt: skip
    columns = ("Modality", "Data set", "Target", "Model", "Median", "Place")
    return Plate(f"podium-{measure}", caption, figure, Table(f"podium-{measure}", caption, columns, rows))


def draw_size(tasks: Sequence[TaskScores]) -> Plate:
    """Draw Dice against the size of the target: medians and quartiles of equally many cases each."""
    figure, axes = new_figure(COLUMN_IN, 2.4)
    rows: list[tuple[Cell, ...]] = []
    for k, method in enumerate(tasks[0].scores):
        scores = [score for task in tasks for score in task.scores[method]]
        pixels = np.array([score.pixels for score in scores], float)
        values = np.array([score.dice for score in scores])
        parts = np.array_split(np.argsort(pixels, kind="stable"), min(SIZE_BINS, len(scores)))
        x = [float(np.median(pixels[part])) for part in parts]
        low, middle, high = np.array([np.quantile(values[part], (0.25, 0.5, 0.75)) for part in parts]).T
        axes.fill_between(x, low, high, color=pick_color(k), alpha=0.15, linewidth=0)
        axes.plot(x, middle, marker=pick_marker(k), color=pick_color(k), markersize=3.5, label=method)
        for n, part in enumerate(parts):
            rows.append((method, x[n], len(part), float(low[n]), float(middle[n]), float(high[n])))
    axes.set_xscale("log")
    axes.set_xlabel("Size of the target (pixels)")
    axes.set_ylabel("Dice")
    axes.set_ylim(top=1.005)
    add_legend(axes)
    caption = "Dice against the size of the target: medians and quartiles of groups of equally many cases."
    columns = ("Model", "Pixels (median)", "Cases", "First quartile", "Median", "Third quartile")
    return Plate("size-dice", caption, figure, Table("size-dice", caption, columns, tuple(rows)))


def expect_error(
    quality_N: NDArray[np.float64], iou_N: NDArray[np.float64]
) -> tuple[float, list[tuple[float, float, float]]]:
    """Measure how far a model's own score is from the IoU that it predicts.

    Returns:
        The expected calibration error, the mean over cases of |mean score - mean IoU| in bins of a tenth; and of every
        bin that is not empty its mean score, mean IoU and number of cases.

    Source: Naeini et al. 2015.
    """
    bins = np.clip((quality_N * QUALITY_BINS).astype(int), 0, QUALITY_BINS - 1)
    found = []
    for b in np.unique(bins):
        inside = bins == b
        found.append((float(quality_N[inside].mean()), float(iou_N[inside].mean()), float(inside.sum())))
    return sum(n * abs(q - i) for q, i, n in found) / len(quality_N), found


def draw_calibration(tasks: Sequence[TaskScores]) -> Plate | None:
    """Draw the reliability of the models' own scores against the IoU; None where no model gives any."""
    figure, axes = new_figure(COLUMN_IN, 2.9)
    rows: list[tuple[Cell, ...]] = []
    silent = []
    axes.plot([0, 1], [0, 1], color="#888888", linestyle="--", linewidth=0.7)
    for k, method in enumerate(tasks[0].scores):
        told = np.array([(s.quality, s.iou) for task in tasks for s in task.scores[method] if not np.isnan(s.quality)])
        if not len(told):
            silent.append(method)
            continue
        error, bins = expect_error(told[:, 0], told[:, 1])
        x, y, n = np.array(bins).T
        axes.plot(x, y, color=pick_color(k), label=f"{method}: expected error {error:.3f}")
        axes.scatter(x, y, s=8 + 60 * n / n.sum(), marker=pick_marker(k), color=pick_color(k), linewidths=0, zorder=3)
        rows += [(method, error, *one) for one in bins]
    if not rows:
        return None
    axes.set(xlabel="Score of the model", ylabel="IoU with the expert", xlim=(0, 1.02), ylim=(0, 1.02))
    add_legend(axes, columns=1)
    caption = "Mean IoU of cases by the model's own score, in bins of a tenth; a larger marker stands for more cases."
    if silent:
        caption += f" Without scores: {', '.join(silent)}."
    columns = ("Model", "Expected error", "Mean score", "Mean IoU", "Cases")
    return Plate("calibration", caption, figure, Table("calibration", caption, columns, tuple(rows)))


def draw_latency(tasks: Sequence[TaskScores], measure: Measure = "dice") -> Plate:
    """Draw the accuracy of each model against its time for a picture."""
    from matplotlib.ticker import FuncFormatter

    figure, axes = new_figure(COLUMN_IN, 2.4)
    rows: list[tuple[Cell, ...]] = []
    medians_TK = median_table(tasks, measure)
    for k, method in enumerate(tasks[0].scores):
        pictures = {(s.dataset, s.sample): s.seconds * s.targets for t in tasks for s in t.scores[method]}
        x = np.quantile(list(pictures.values()), (0.25, 0.5, 0.75))
        y = np.quantile(medians_TK[:, k], (0.25, 0.5, 0.75))
        axes.errorbar(x[1], y[1], xerr=[[x[1] - x[0]], [x[2] - x[1]]], yerr=[[y[1] - y[0]], [y[2] - y[1]]],
                      marker=pick_marker(k), color=pick_color(k), markersize=5, elinewidth=0.7, label=method)  # fmt: skip
        rows.append((method, *x.tolist(), *y.tolist()))
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    numbered = (1, 2, 5) if high < 30 * low else (1,)
    for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatter(FuncFormatter(lambda value, _: _write_seconds(value, numbered)))
    axes.set_xlabel("Seconds a picture, all its targets")
    axes.set_ylabel(f"Median of task medians, {TITLES[measure]}")
    add_legend(axes)
    caption = "Accuracy against time: medians with quartiles, over tasks and over pictures. Read predictions take no model's time."
    columns = (
        "Model",
        "Seconds, first quartile",
        "Median",
        "Third",
        f"{TITLES[measure]}, first quartile",
        "Median",
        "Third",
    )
    return Plate("latency", caption, figure, Table("latency", caption, columns, tuple(rows)))


def draw_significance(comparisons: Sequence[PairedComparison], measure: Measure) -> Plate:
    """Draw the median difference of every two models in every task, with the stars of the corrected test."""
    tasks = list(dict.fromkeys(one.task for one in comparisons))
    pairs = list(dict.fromkeys((one.first, one.second) for one in comparisons))
    by = {(one.task, one.first, one.second): one for one in comparisons}
    wide = len(pairs) > 3
    figure, axes = new_figure(PAGE_IN if wide else COLUMN_IN, max(2.4, 1.5 + 0.17 * len(tasks)))
    digits = 0 if len(pairs) > CLOSE_PAIRS else 1
    estimates = [[100 * by[task, *pair].interval.estimate for pair in pairs] for task in tasks]
    table = np.round(estimates, digits) + 0.0
    limit = max(5.0, float(np.quantile(np.abs(table), 0.9)))  # one task far off leaves the others their colours
    image = axes.imshow(table, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
    for (r, task), (c, pair) in itertools.product(enumerate(tasks), enumerate(pairs)):
        number = f"{table[r, c]:+.{digits}f}" if table[r, c] else f"{0:.{digits}f}"
        text = f"{number}{' ' * digits}{mark_significance(by[task, *pair].p_holm)}".strip()
        dark = abs(table[r, c]) > 0.6 * limit
        axes.text(c, r, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
    axes.set_yticks(range(len(tasks)), [str(task) for task in tasks], fontsize=6)
    labels = [f"{second} - {first}" for first, second in pairs]
    axes.set_xticks(range(len(pairs)), labels, rotation=30, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    beyond = "both" if np.abs(table).max() > limit else "neither"
    figure.colorbar(
        image, extend=beyond, ax=axes, label=f"Median difference ({TITLES[measure]} points)", shrink=0.9, aspect=30
    )
    caption = (
        f"Median difference of {TITLES[measure]} in points between every two models in every task. Stars: Wilcoxon signed-rank test "
        "on group means, Holm's correction over all cells (* p < 0.05, ** p < 0.01, *** p < 0.001)."
    )
    rows = tuple((*_cells_of(c), c.first, c.second, 100 * c.interval.estimate, c.p_holm) for c in comparisons)
    columns = ("Modality", "Data set", "Target", "First", "Second", "Difference (points)", "p (Holm)")
    name = f"significance-{measure}"
    return Plate(name, caption, figure, Table(name, caption, columns, rows))


def draw_modalities(tasks: Sequence[TaskScores]) -> Plate:
    """Draw how many cases each modality has (paper, Fig. 2a)."""
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task.task.modality] = counts.get(task.task.modality, 0) + len(task.cases)
    ordered = sorted(counts.items(), key=lambda item: (item[1], item[0]))
    figure, axes = new_figure(COLUMN_IN, 0.7 + 0.2 * len(ordered))
    axes.barh([name for name, _ in ordered], [count for _, count in ordered], color=COLORS[0], height=0.7)
    for row, (_, count) in enumerate(ordered):
        axes.annotate(f"{count:,}", (count, row), xytext=(2, 0), textcoords="offset points", va="center")
    if ordered[-1][1] > 100 * ordered[0][1]:
        axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("Cases")
    caption = "Cases of each modality that all models were measured on."
    rows: tuple[tuple[Cell, ...], ...] = tuple(reversed(ordered))
    return Plate("modalities", caption, figure, Table("modalities", caption, ("Modality", "Cases"), rows))


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure of one plot, in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def add_legend(axes: Axes, *, columns: int = 2) -> None:
    """Write the legend above the plot, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, frameon=False, borderaxespad=0.2,
                handletextpad=0.4, columnspacing=1.0)  # fmt: skip


def _write_seconds(value: float, numbered: Sequence[int]) -> str:
    """A number at some ticks of every decade, none at the others."""
    mantissa = value / 10 ** np.floor(np.log10(value))
    return f"{value:g}" if any(abs(mantissa - one) < 0.01 for one in (*numbered, 10)) else ""


def limit_scores(axes: Axes, values: NDArray[np.float64]) -> None:
    """From a round number below the least score to 1."""
    axes.set_ylim(max(0.0, float(np.floor(10 * values.min() - 0.2)) / 10), 1.0)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.5)
    axes.set_axisbelow(True)


def count(number: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def pick_color(k: int) -> str:
    """Give the colour of the k-th method."""
    return COLORS[k % len(COLORS)]


def pick_marker(k: int) -> str:
    """Give the marker of the k-th method."""
    return MARKERS[k % len(MARKERS)]


def wrap_name(name: str, beside: int) -> str:
    """In two lines where the names beside it leave no room for one."""
    return name if len(name) * beside < 48 else name.replace("-", "-\n", 1)


def _task_cells(task: TaskScores) -> tuple[str, str, str]:
    return task.task.modality, task.task.dataset, task.task.target


def _cells_of(comparison: PairedComparison) -> tuple[str, str, str]:
    return comparison.task.modality, comparison.task.dataset, comparison.task.target


def _task_data(name: str, tasks: Sequence[TaskScores], measure: Measure) -> Table:
    medians_TK = median_table(tasks, measure)
    rows = tuple((*_task_cells(task), *medians_TK[t].tolist()) for t, task in enumerate(tasks))
    return Table(name, f"Task medians of {TITLES[measure]}", ("Modality", "Data set", "Target", *tasks[0].scores), rows)
