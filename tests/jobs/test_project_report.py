"""The report of a study from a project: tables and bars whose numbers are those that were recorded."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image as Picture
from project_writer import started

from medsam.errors import DataError, OutputError
from medsam.jobs.project_report import report_study


def test_times_become_tables_and_bars(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    with project:
        with pytest.raises(DataError, match="nobody has worked"):
            report_study(project, tmp_path / "r")
        assert not (tmp_path / "r").exists()
        project.record(case, "ana", [("refining", 1000.0 + 30 * n, 0.0) for n in range(9)])
        project.record(case, "bob", [("marking", 1000.0, 0.0), ("marking", 1030.0, 0.0), ("model", 1036.0, 6.0)])
        result = report_study(project, tmp_path / "r")
        assert [(one.annotator, one.total, one.with_model) for one in result.times] == [
            ("ana", 240.0, False), ("bob", 36.0, True),
        ]  # fmt: skip
        with pytest.raises(OutputError, match="--overwrite"):
            report_study(project, tmp_path / "r")
        report_study(project, tmp_path / "r", overwrite=True)
    assert sorted(str(p.relative_to(tmp_path / "r")) for p in result.files) == [
        "annotators.csv", "annotators.md", "figures/times.csv", "figures/times.png", "figures/times.svg", "times.csv", "times.md",
    ]  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "r/times.csv").read_text().splitlines()))
    assert [(row["Annotator"], row["Model"], row["Total"]) for row in rows] == [
        ("ana", "without", "4.00"),
        ("bob", "with", "0.60"),
    ]
    assert (tmp_path / "r/figures/times.csv").read_text() == (tmp_path / "r/times.csv").read_text()
    with Picture.open(tmp_path / "r/figures/times.png") as picture:
        assert min(picture.size) > 500
    assert "Minutes a case" in (tmp_path / "r/figures/times.svg").read_text()
