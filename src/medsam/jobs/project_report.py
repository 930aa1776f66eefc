"""`medsam project report`: the time that a study took, as tables and bars with their data beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medsam.annotation.study.project import Project
from medsam.annotation.study.time_report import draw_times, tabulate_annotators, tabulate_times
from medsam.annotation.study.timing import CaseTime, measure_times
from medsam.errors import DataError
from medsam.evaluation.figures import style
from medsam.evaluation.tables import Table
from medsam.jobs.outputs import check_outputs
from medsam.jobs.report import write_plate, write_table


@dataclass(frozen=True)
class StudyReport:
    """What was reported.

    Args:
        times: A row for each case and annotator.
        table: Mean minutes of each annotator, with and without the model.
        files: All that was written.
    """

    times: tuple[CaseTime, ...]
    table: Table
    files: tuple[Path, ...]


def report_study(project: Project, folder: Path, *, overwrite: bool = False) -> StudyReport:
    """Write times.csv, times.md, annotators.csv, annotators.md, and the bars as figure.png, .svg and .csv.

    Args:
        folder: Where to; made if need be.
        overwrite: Whether files that exist are replaced.

    Raises:
        DataError: nothing was recorded yet. OutputError: the disk refused, or files exist.
    """
    times = measure_times(project.activities())
    if not times:
        raise DataError(
            "a project in which nobody has worked yet",
            expected="recorded times",
            fix="annotate a case with medsam open or medsam serve first",
        )
    tables = [tabulate_times(times), tabulate_annotators(times)]
    figures = folder / "figures"
    files = [folder / f"{table.name}{suffix}" for table in tables for suffix in (".csv", ".md")]
    drawn = [figures / f"times.{suffix}" for suffix in ("png", "svg", "csv")]
    check_outputs([*files, *drawn], [], overwrite=overwrite)
    for table in tables:
        write_table(folder, table, suffixes=(".csv", ".md"))
    with style():
        write_plate(figures, draw_times(times), suffixes=("png", "svg"))
    return StudyReport(tuple(times), tables[1], (*files, *drawn))
