"""A project of the second schema keeps its masks, and its objects can be locked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from medsam.annotation.study.database import FILE
from medsam.annotation.study.project import open_project

PAST = Path(__file__).parents[2] / "past"


def test_objects_of_a_second_project_are_not_locked_and_can_be(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executescript((PAST / "0002.sql").read_text())
    with open_project(tmp_path) as project:
        [case] = project.cases()
        [liver] = project.objects(case.id)
        found = project.current(case.id, "ana")
        assert not liver.locked and found is not None and found.labels.any()
        project.lock_object(case.id, liver.label, locked=True)
    with open_project(tmp_path) as again:
        assert [one.locked for one in again.objects(case.id)] == [True]
