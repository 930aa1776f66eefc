"""The database: full disks, files that are no project, and projects of every past version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from project_writer import SHAPE, mask, started

from medsam.annotation.study.database import FILE
from medsam.annotation.study.project import Project, create_project, open_project
from medsam.errors import DataError, OutputError

PAST = sorted((Path(__file__).parent / "past").glob("*.sql"))


@pytest.mark.parametrize("dump", PAST, ids=lambda path: path.stem)
def test_a_project_of_every_past_version_opens_and_goes_on(dump: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executescript(dump.read_text())
    with open_project(tmp_path) as project:
        [case] = project.cases()
        found = project.current(case.id, "ana")
        assert found is not None and np.array_equal(found.labels, mask(5))
        assert [o.name for o in project.objects(case.id)] == ["liver"]
        project.save(case.id, "ana", mask(6), seen=project.head(case.id, "ana").version, kind="edit")
        assert project.check() == []


def test_there_is_a_dump_of_the_schema_of_today() -> None:
    versions = Path(create_project.__code__.co_filename).parent / "migrations" / "versions"
    assert [p.stem for p in PAST] == sorted(p.stem.split("_")[0] for p in versions.glob("0*.py"))


def test_nothing_is_saved_into_a_file_that_another_has_replaced(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    with project:
        project.save(case, "ana", mask(1), seen=0, kind="edit")
        other, twin = started(tmp_path / "q")
        other.close()
        file = tmp_path / "p" / FILE
        away = file.rename(tmp_path / "away")
        with pytest.raises(DataError, match="another than was opened"):
            project.save(case, "ana", mask(2), seen=1, kind="edit")
        (tmp_path / "q" / FILE).rename(file)
        for ask in (lambda: project.head(case, "ana"), lambda: project.set_status(twin, "done")):
            with pytest.raises(DataError, match="another than was opened"):
                ask()
        away.rename(file)
        project.save(case, "ana", mask(2), seen=1, kind="edit")
        assert project.check() == []


def fill(project: Project, case: str, labels: np.ndarray) -> None:
    for version in range(1, 400):
        project.save(case, "ana", labels, seen=version, kind="edit", event={"text": "x" * 4000})


def test_a_full_disk_is_said_and_the_state_before_stays(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    project.save(case, "ana", mask(1), seen=0, kind="edit")
    project.close()
    with open_project(tmp_path / "p") as small:
        with small._writing() as connection:  # a database that may not grow is what a full disk is to SQLite
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        noise = np.random.default_rng(0).integers(0, 9, SHAPE).astype(np.uint8)
        with pytest.raises(OutputError, match="the disk of the project is full"):
            fill(small, case, noise)
    with open_project(tmp_path / "p") as again:
        assert again.check() == []
        _, head = again.save(case, "ana", mask(2), seen=again.head(case, "ana").version, kind="edit")
        assert head.version == len(again.history(case))


def test_projects_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="medsam project new"):
        open_project(tmp_path)
    create_project(tmp_path / "p").close()
    with pytest.raises(DataError, match="holds a project already"):
        create_project(tmp_path / "p")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(DataError, match="made by medsam"):
        open_project(tmp_path / "bad")
    with sqlite3.connect(tmp_path / "p" / FILE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DataError, match="schema 9999"):
        open_project(tmp_path / "p")
