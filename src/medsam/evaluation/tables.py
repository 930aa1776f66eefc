"""Tables of score rows: task medians, paired comparisons, ranks; as CSV, Markdown and LaTeX.

A task is (data set, modality, target). Comparisons and ranks take the cases that all methods have. A failed case counts
with Dice and NSD 0; of a whole volume, nothing counts as found on the slices that got no answer.

Shapes: T tasks, K methods.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from medsam.errors import DataError
from medsam.evaluation.measure import Score
from medsam.evaluation.statistics import (
    Interval,
    PairedTest,
    bootstrap_median_difference,
    bootstrap_ranks,
    compare_paired,
    correct_holm,
    count_wins,
    rank_methods,
    summarize_values,
)
from medsam.io.text import format_rows

Measure = Literal["dice", "nsd"]
TITLES: Mapping[str, str] = {"dice": "Dice", "nsd": "NSD"}
MEASURES: tuple[Measure, ...] = ("dice", "nsd")
FAILED = "Failed cases count with Dice and NSD 0."
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
Cell = str | int | float


@dataclass(frozen=True, order=True)
class Task:
    """What is segmented where.

    Args:
        modality: Of its pictures.
        dataset: Name of the data set.
        target: What it is; "" where it is not told.
    """

    modality: str
    dataset: str
    target: str

    def __str__(self) -> str:
        """Data set and target, for the axis of a figure."""
        return f"{self.dataset} {self.target}".strip()


@dataclass(frozen=True, eq=False)
class TaskScores:
    """The cases of one task that all methods have, in one order.

    Args:
        task: Which.
        cases: (data set, sample, target number) of each case.
        groups: Patient or volume of each case; the sample itself where it is not known.
        scores: Of each method, its scores of these cases.
    """

    task: Task
    cases: tuple[tuple[str, str, int], ...]
    groups: tuple[str, ...]
    scores: Mapping[str, tuple[Score, ...]]

    def values(self, method: str, measure: str) -> list[float]:
        """One measure of a method in the order of the cases."""
        return [float(getattr(score, measure)) for score in self.scores[method]]


@dataclass(frozen=True)
class PairedComparison:
    """Two methods on one task.

    Args:
        task: Which.
        first: Name of the first method.
        second: Name of the second.
        cases: How many both have.
        test: The Wilcoxon test by group; its effect is above 0 where the second is better.
        interval: Of the median difference second - first.
        p_holm: The p-value after Holm's correction over all comparisons of the table.
    """

    task: Task
    first: str
    second: str
    cases: int
    test: PairedTest
    interval: Interval
    p_holm: float


@dataclass(frozen=True)
class Table:
    """A table to print.

    Args:
        name: Of its files.
        title: One line.
        columns: Headings.
        rows: Cells, as many as columns.
        bold: (row, column) of cells that stand out.
        note: What a reader must know.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    note: str = ""


def name_methods(scores: Sequence[Score]) -> list[str]:
    """Name the methods in the order in which they come first."""
    return list(dict.fromkeys(score.method for score in scores))


def group_tasks(scores: Sequence[Score]) -> tuple[list[TaskScores], int]:
    """Sort scores into tasks.

    Returns:
        The tasks by modality, data set and target, each with the cases that all methods have; and how many rows were
        left out because another method lacks the case.

    Raises:
        DataError: no case is shared by all methods, or one method has two rows of a case.
    """
    methods = name_methods(scores)
    cases: dict[tuple[str, str, int], dict[str, Score]] = {}
    for score in scores:
        of_case = cases.setdefault((score.dataset, score.sample, score.target), {})
        if score.method in of_case:
            raise DataError(
                f"two rows of {score.method} for one case",
                expected="one row of a model, case and run",
                fix="report runs of different data or models together, or name models apart with NAME=MODEL",
            )
        of_case[score.method] = score
    shared = {key: of_case for key, of_case in cases.items() if len(of_case) == len(methods)}
    if not shared:
        raise DataError("no case that all models have", expected="one or more", fix="evaluate them on the same data")
    tasks: dict[Task, list[tuple[str, str, int]]] = {}
    for key, of_case in shared.items():
        one = of_case[methods[0]]
        tasks.setdefault(Task(one.modality, one.dataset, one.name), []).append(key)
    grouped = []
    for task, keys in sorted(tasks.items()):
        first = [shared[key][methods[0]] for key in keys]
        groups = tuple(f"{s.dataset}/{s.group or s.sample}" for s in first)
        columns = {method: tuple(shared[key][method] for key in keys) for method in methods}
        grouped.append(TaskScores(task, tuple(keys), groups, columns))
    return grouped, len(scores) - len(shared) * len(methods)


def median_table(tasks: Sequence[TaskScores], measure: Measure) -> NDArray[np.float64]:
    """Give the median of each method in each task, (T, K)."""
    methods = list(tasks[0].scores)
    return np.array([[float(np.median(task.values(method, measure))) for method in methods] for task in tasks])


def place_methods(medians_TK: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each method its place on the podium of each task, (T, K) from 1; methods that tie share the better place."""
    places: NDArray[np.int64] = stats.rankdata(-medians_TK, axis=1, method="min").astype(np.int64)
    return places


def compare_tasks(tasks: Sequence[TaskScores], measure: Measure, *, seed: int, rounds: int) -> list[PairedComparison]:
    """Compare every two methods in every task, with Holm's correction over all of these tests.

    Args:
        tasks: From group_tasks.
        measure: What is compared.
        seed: Of the bootstrap.
        rounds: Of the bootstrap.
    """
    found = []
    for task in tasks:
        for first, second in itertools.combinations(task.scores, 2):
            before, after = task.values(first, measure), task.values(second, measure)
            test = compare_paired(before, after, task.groups)
            interval = bootstrap_median_difference(before, after, task.groups, seed=seed, rounds=rounds)
            found.append((task.task, first, second, len(task.cases), test, interval))
    adjusted = correct_holm([one[4].p_value for one in found]).tolist() if found else []
    return [PairedComparison(*one, p_holm=p) for one, p in zip(found, adjusted, strict=True)]


def mark_significance(p_value: float) -> str:
    """Give the stars of a p-value: * below 0.05, ** below 0.01, *** below 0.001."""
    return next((stars for level, stars in STARS if p_value < level), "")


def tabulate_medians(
    tasks: Sequence[TaskScores], comparisons: Sequence[PairedComparison], measure: Measure, *, failures: str = FAILED
) -> Table:
    """Tabulate median and quartiles of each method in each task, the best one bold, as Supplementary Tables 6 to 11.

    The best method carries stars where it differs from the runner-up.

    Args:
        tasks: From group_tasks.
        comparisons: Of these tasks.
        measure: What is tabulated.
        failures: What became of failed cases.
    """
    methods = list(tasks[0].scores)
    medians_TK = median_table(tasks, measure)
    p_values = {(one.task, frozenset((one.first, one.second))): one.p_holm for one in comparisons}
    rows, bold = [], set()
    for t, task in enumerate(tasks):
        order = np.argsort(-medians_TK[t], kind="stable").tolist()
        cells: list[Cell] = []
        for k, method in enumerate(methods):
            q = summarize_values(task.values(method, measure))
            stars = ""
            if k == order[0] and len(order) > 1:
                stars = mark_significance(p_values.get((task.task, frozenset((method, methods[order[1]]))), 1.0))
            cells.append(f"{q.median:.3f} ({q.low:.3f}, {q.high:.3f}){stars}")
            if medians_TK[t, k] == medians_TK[t].max():
                bold.add((t, 4 + k))
        failed = sum(bool(score.fault) for of in task.scores.values() for score in of)
        rows.append((task.task.modality, task.task.dataset, task.task.target, len(task.cases), *cells, failed))
    return Table(
        f"medians-{measure}", f"Median {TITLES[measure]} (first, third quartile) of each task",
        ("Modality", "Data set", "Target", "Cases", *methods, "Failed"), tuple(rows), frozenset(bold),
        "Bold: the best median. Stars: the best differs from the runner-up by the Wilcoxon signed-rank test on group "
        f"means with Holm's correction (* p < 0.05, ** p < 0.01, *** p < 0.001). {failures}",
    )  # fmt: skip


def tabulate_comparisons(comparisons: Sequence[PairedComparison], measure: Measure) -> Table:
    """Tabulate every comparison of two methods in a task."""
    rows = tuple(
        (
            c.task.modality, c.task.dataset, c.task.target, c.first, c.second, c.cases, c.test.clusters,
            round(c.interval.estimate, 4), round(c.interval.low, 4), round(c.interval.high, 4),
            _write_p(c.test.p_value), _write_p(c.p_holm), mark_significance(c.p_holm), round(c.test.effect, 3),
        )
        for c in comparisons
    )  # fmt: skip
    columns = ("Modality", "Data set", "Target", "First", "Second", "Cases", "Groups", "Median difference", "95 % low",
               "95 % high", "p", "p (Holm)", "Stars", "Effect")  # fmt: skip
    return Table(
        f"comparisons-{measure}", f"{TITLES[measure]} of every two models in every task", columns, rows,
        note="Difference: second - first, with a bootstrap interval over groups (patients or volumes). p: Wilcoxon "
        "signed-rank test on group means. Effect: matched-pairs rank-biserial correlation, above 0 where the second is "
        "better.",
    )  # fmt: skip


def tabulate_ranks(tasks: Sequence[TaskScores], measure: Measure, *, seed: int, rounds: int) -> Table:
    """Tabulate mean rank with its bootstrap interval, wins and the median of task medians of each method."""
    methods = list(tasks[0].scores)
    medians_TK = median_table(tasks, measure)
    ranks_K, wins_K = rank_methods(medians_TK).mean(axis=0), count_wins(medians_TK)
    names, drawn_RK = bootstrap_ranks(
        [{method: task.values(method, measure) for method in methods} for task in tasks],
        [task.groups for task in tasks], seed=seed, rounds=rounds,
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for k in np.argsort(ranks_K, kind="stable").tolist():
        low, high = np.quantile(drawn_RK[:, names.index(methods[k])], (0.025, 0.975)).tolist()
        q = summarize_values(medians_TK[:, k])
        failed = sum(bool(score.fault) for task in tasks for score in task.scores[methods[k]])
        rows.append(
            (methods[k], round(float(ranks_K[k]), 2), f"{low:.2f} to {high:.2f}", round(float(wins_K[k]), 2),
             len(tasks), round(q.median, 4), f"{q.low:.3f} to {q.high:.3f}", failed)
        )  # fmt: skip
    columns = ("Model", "Mean rank", "95 %", "Wins", "Tasks", "Median of task medians", "Quartiles", "Failed")
    note = "Ranks of task medians; ties share ranks and wins. The interval is of cases drawn again by group."
    return Table(f"ranks-{measure}", f"Ranks by {TITLES[measure]}", columns, tuple(rows), note=note)


def _write_p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def write_csv(table: Table) -> str:
    """Write a table as CSV."""
    return format_rows([table.columns, *table.rows])


def write_markdown(table: Table) -> str:
    """Write a table as Markdown, with its title and note."""
    lines = [f"**{table.title}**", "", _join(table.columns), "|" + "---|" * len(table.columns)]
    for r, row in enumerate(table.rows):
        lines.append(_join([f"**{cell}**" if (r, c) in table.bold else str(cell) for c, cell in enumerate(row)]))
    return "\n".join([*lines, "", table.note, ""])


def _join(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("***", "\\*\\*\\*") for cell in cells) + " |"


def write_latex(table: Table) -> str:
    """Write a table as LaTeX of the package booktabs."""
    body = []
    for r, row in enumerate(table.rows):
        cells = [_escape(str(cell)) for cell in row]
        cells = [rf"\textbf{{{cell}}}" if (r, c) in table.bold else cell for c, cell in enumerate(cells)]
        body.append(" & ".join(cells) + r" \\")
    numbers = [all(isinstance(row[c], (int, float)) for row in table.rows) for c in range(len(table.columns))]
    head = " & ".join(map(_escape, table.columns)) + r" \\"
    return "\n".join([
        r"\begin{table}", rf"\caption{{{_escape(table.title)}. {_escape(table.note)}}}",
        r"\begin{tabular}{" + "".join("r" if number else "l" for number in numbers) + "}",
        r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
    ])  # fmt: skip


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$"}
    return "".join(special.get(one, f"\\{one}" if one in "&%$#_{}" else one) for one in text)
