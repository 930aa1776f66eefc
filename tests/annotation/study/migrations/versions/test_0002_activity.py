"""A project of the first schema gets the table of what annotators did, and loses the one that nothing wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from medsam.annotation.study.database import FILE
from medsam.annotation.study.project import open_project

PAST = Path(__file__).parents[2] / "past"


def test_a_first_project_can_record_times(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executescript((PAST / "0001.sql").read_text())
        assert connection.execute("SELECT count(*) FROM phases").fetchone() == (0,)
    with open_project(tmp_path) as project:
        [case] = project.cases()
        assert project.activities() == []
        project.record(case.id, "ana", [("marking", 100.0, 0.0), ("marking", 130.5, 2.0)])
        assert [(a.case, a.phase, a.at, a.seconds) for a in project.activities()] == [
            (1, "marking", 100.0, 0.0), (1, "marking", 130.5, 2.0),
        ]  # fmt: skip
    with sqlite3.connect(tmp_path / FILE) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "activity" in tables and "phases" not in tables


def test_a_second_project_keeps_its_times(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executescript((PAST / "0002.sql").read_text())
    with open_project(tmp_path) as project:
        assert [a.seconds for a in project.activities()] == [0.0, 0.0, 8.0]
