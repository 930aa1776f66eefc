"""A project in PostgreSQL does what one in SQLite does, by every verb, and tells nobody its password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from postgres import PASSWORD, Postgres, run_postgres
from server_process import ServerProcess
from serving import SHAPE, scan_file

import medsam
from command import medsam as command
from command import refused
from durability import write_at_once
from medsam.annotation.study.project import create_project, open_project
from medsam.errors import ConflictError, DataError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as one:
        yield one


def test_every_verb_takes_an_address(postgres: Postgres, tmp_path: Path) -> None:
    address = postgres.new_database()
    said = [refused(command("project list", address), "medsam project new")]
    assert command("project new", address).code == 0
    said.append(refused(command("project new", address), "open it instead"))
    ended = command("project add --modality MR", address, scan_file(tmp_path / "a.nii.gz"))
    assert ended.code == 0 and "case 1: 6 x 40 x 48" in ended.out
    with open_project(address) as project:
        case = project.cases()[0].id
        for who, rows in (("ana", 20), ("bob", 30)):
            labels = np.zeros(SHAPE, np.uint8)
            labels[2, :rows] = 3
            project.save(case, who, labels, seen=0, kind="edit", locked={3: frozenset({2})})
            project.record(case, who, [("refining", 1000.0, 0.0), ("refining", 1030.0, 0.0)])
        project.undo(case, "bob", seen=1)
        assert project.redo(case, "bob", seen=2).version == 3
        with pytest.raises(ConflictError):
            project.save(case, "bob", labels, seen=1, kind="edit")
        assert project.check() == [] and project.revision(1).locked == {3: frozenset({2})}
    assert command("project list --json", address).json[0]["saves"] == {"ana": 1, "bob": 1}
    assert command("project report --json", address, "-o", tmp_path / "r").json[0]["seconds"]["refining"] == 30.0
    assert command("project agreement --json", address).json[0]["volume_difference"] == 0.4
    assert command("project consensus", address).code == 0
    assert command("project export", address, "-o", tmp_path / "out").code == 0
    assert medsam.read_mask(tmp_path / "out/case-1-ana.nii.gz").labels.sum() == 3 * 20 * 48
    wrong = address.replace(PASSWORD, "no-" + PASSWORD)
    said += [
        refused(command("project list", wrong), "database"),
        refused(command("project list", address + "x"), "database"),
    ]
    assert PASSWORD not in "".join(str(one) for one in said)


def test_a_server_keeps_annotations_there_and_says_no_password(postgres: Postgres, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, postgres.new_database())
    with server.client() as client:
        case = client.get("/api/v1/cases").json()[0]["id"]
        body = {"slice": 2, "box": [10, 8, 32, 22], "save": True}
        assert client.post(f"/api/v1/cases/{case}/prompts", json=body, headers={"If-Match": '"v0"'}).status_code == 200
        assert client.get("/readyz").json()["project"] is True
    server.kill()
    server.start()
    with server.client() as client:
        assert client.get(f"/api/v1/cases/{case}/head").json()["version"] == 1
        assert client.post(f"/api/v1/cases/{case}/undo", headers={"If-Match": '"v1"'}).status_code == 200
    assert server.stop() in (0, -15)
    assert PASSWORD not in server.log.read_text() and PASSWORD not in server.opened


def test_writers_on_one_case_lose_no_update(postgres: Postgres, tmp_path: Path) -> None:
    found = write_at_once(tmp_path, writers=4, saves=20, address=postgres.new_database())
    assert (found.missing, found.forks, found.problems, found.acknowledged) == ([], 0, [], 80)


def test_other_databases_are_not_taken_for_projects(postgres: Postgres) -> None:
    address = postgres.new_database()
    with pytest.raises(DataError, match="holds no project") as caught:
        open_project(address)
    assert PASSWORD not in str(caught.value)
    create_project(address.replace("postgresql://", "postgres://")).close()
    with open_project(address) as project:
        assert project.cases() == []
