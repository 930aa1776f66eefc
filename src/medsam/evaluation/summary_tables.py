"""Tables beside those of tasks: modalities and targets, every measure, whole volumes, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medsam.evaluation.measure import Score
from medsam.evaluation.statistics import summarize_values
from medsam.evaluation.tables import (
    FAILED,
    MEASURES,
    TITLES,
    Cell,
    Measure,
    Table,
    TaskScores,
    compare_tasks,
    group_tasks,
    tabulate_medians,
)

OTHERS = ("dice", "nsd", "iou", "precision", "recall", "hd95", "volume_error", "seconds")
FAILED_VOLUMES = "Failed: volumes of which slices got no answer; nothing counts as found on these."


def tabulate_groups(tasks: Sequence[TaskScores], measure: Measure) -> Table:
    """Tabulate median and quartiles of each method over all cases of a modality, and over all of a target."""
    methods = list(tasks[0].scores)
    rows: list[tuple[Cell, ...]] = []
    for kind, names in (("modality", [t.task.modality for t in tasks]), ("target", [t.task.target for t in tasks])):
        for name in sorted(set(names)):
            inside = [task for task, of in zip(tasks, names, strict=True) if of == name]
            cells = []
            for method in methods:
                q = summarize_values([value for task in inside for value in task.values(method, measure)])
                cells.append(f"{q.median:.3f} ({q.low:.3f}, {q.high:.3f})")
            failed = sum(bool(score.fault) for task in inside for of in task.scores.values() for score in of)
            rows.append((kind, name, len(inside), sum(len(task.cases) for task in inside), *cells, failed))
    title = f"Median {TITLES[measure]} (first, third quartile) of each modality and each target"
    columns = ("Of", "Name", "Tasks", "Cases", *methods, "Failed")
    return Table(f"groups-{measure}", title, columns, tuple(rows), note=f"Over all cases. {FAILED}")


def tabulate_measures(tasks: Sequence[TaskScores], *, failures: str = FAILED) -> Table:
    """Tabulate the median of every measure of each method over all cases; infinite distances count as the largest.

    Args:
        tasks: From group_tasks.
        failures: What became of failed cases.
    """
    rows: list[tuple[Cell, ...]] = []
    for method in tasks[0].scores:
        cells: list[Cell] = []
        for measure in OTHERS:
            values = [v for task in tasks for v in task.values(method, measure) if not np.isnan(v)]
            middle = float(np.quantile(values, 0.5, method="inverted_cdf")) if values else float("nan")
            cells.append(round(middle, 4) if np.isfinite(middle) else str(middle))
        failed = sum(bool(score.fault) for task in tasks for score in task.scores[method])
        rows.append((method, sum(len(task.cases) for task in tasks), *cells, failed))
    columns = (
        "Model",
        "Cases",
        "Dice",
        "NSD",
        "IoU",
        "Precision",
        "Recall",
        "HD95",
        "Volume error",
        "Seconds",
        "Failed",
    )
    return Table("measures", "Median of every measure over all cases", columns, tuple(rows),
                 note=f"HD95 in {name_units(tasks)}; seconds a target. {failures}")  # fmt: skip


def name_units(tasks: Sequence[TaskScores]) -> str:
    """Say in which unit the distances of some tasks are."""
    units = {score.unit for task in tasks for of in task.scores.values() for score in of}
    return (
        {"px": "pixels", "mm": "mm"}[units.pop()] if len(units) == 1 else "mm where the spacing is known, else pixels"
    )


def tabulate_volumes(scores: Sequence[Score], *, seed: int, rounds: int) -> list[Table]:
    """Tabulate the rows of whole volumes: medians of each task, and of every measure.

    Args:
        scores: Of volumes, of one prompt; none gives no table.
        seed: Of the bootstrap.
        rounds: Of the bootstrap.

    Raises:
        DataError: as group_tasks.
    """
    if not scores:
        return []
    tasks, _ = group_tasks(scores)
    made = [
        tabulate_medians(tasks, compare_tasks(tasks, m, seed=seed, rounds=rounds), m, failures=FAILED_VOLUMES)
        for m in MEASURES
    ]
    made += [tabulate_measures(tasks, failures=FAILED_VOLUMES), tabulate_faults(scores, failures=FAILED_VOLUMES)]
    return [replace(one, name=f"volumes-{one.name}", title=f"Whole volumes: {one.title}") for one in made]


def tabulate_faults(scores: Sequence[Score], *, failures: str = FAILED) -> Table:
    """Tabulate why cases failed, by method and reason.

    Args:
        scores: Of all cases.
        failures: What became of those.
    """
    counts = Counter((score.method, score.fault) for score in scores if score.fault)
    rows = tuple((method, reason, count) for (method, reason), count in sorted(counts.items()))
    return Table("failures", "Failed cases", ("Model", "Reason", "Cases"), rows, note=failures)
