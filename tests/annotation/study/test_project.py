"""A project: nothing acknowledged is lost, two writers are told apart, history only grows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import project_writer
import pytest
from project_writer import SHAPE, mask, started

from medsam.annotation.study.project import ProjectObject, open_project
from medsam.errors import DataError

WRITER = Path(project_writer.__file__)


def writer(folder: Path, case: str, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WRITER), str(folder), case, name, str(count)])


def test_a_saved_state_comes_back_from_another_process_view(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    revision, head = project.save(case, "ana", mask(3), seen=0, kind="model", event={"weights": "abc"})
    project.close()
    with open_project(tmp_path / "p") as again:
        found = again.current(case, "ana")
        assert found is not None
        assert (found.id, found.kind, found.event, found.parent) == (revision, "model", {"weights": "abc"}, None)
        assert np.array_equal(found.labels, mask(3))
        assert again.head(case, "ana") == head
        assert [c.number for c in again.cases()] == [1]
        assert again.check() == []


def test_slices_drawn_by_hand_stay_locked_until_said_otherwise(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    project.save(case, "ana", mask(1), seen=0, kind="edit", locked={1: frozenset({0, 1})})
    kept, _ = project.save(case, "ana", mask(1), seen=1, kind="model")
    free, _ = project.save(case, "ana", mask(1), seen=2, kind="model", locked={})
    assert project.revision(kept).locked == {1: frozenset({0, 1})}
    assert project.revision(free).locked == {}


def test_objects_and_status(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    project.set_object(case, ProjectObject(2, "liver", (1, 2, 3), ("SCT", "10200004", "Liver")))
    project.set_object(case, ProjectObject(2, "Liver"))
    assert project.objects(case) == [ProjectObject(2, "Liver")]
    project.set_status(case, "done")
    assert project.case(case).status == "done"
    with pytest.raises(DataError, match="reviewed"):
        project.set_status(case, "finished")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="open case 1"):
        project.add_case("other.nii", SHAPE, "f" * 64, {})
    with pytest.raises(DataError, match="the scan's"):
        project.save(case, "ana", np.zeros((1, 1, 1), np.uint8), seen=0, kind="edit")


def test_several_writers_lose_no_update(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    project.close()
    writers = [writer(tmp_path / "p", case, f"w{n}", 25) for n in range(3)]
    assert [process.wait() for process in writers] == [0, 0, 0]
    told = [int(line) for n in range(3) for line in (tmp_path / "p" / f"w{n}.log").read_text().split()]
    with open_project(tmp_path / "p") as again:
        history = [move[2] for move in again.history(case)]
        assert sorted(told) == sorted(r for r in history if r is not None)
        assert len(told) == 75 and again.head(case, "team").version == 75
        assert [again.revision(r).parent for r in history if r is not None][1:] == history[:-1]  # one line, no fork


def test_a_writer_that_is_killed_loses_nothing_it_was_told_is_saved(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    project.close()
    log = tmp_path / "p" / "w.log"
    for kill in range(3):
        before = log.stat().st_size if log.exists() else 0
        process = writer(tmp_path / "p", case, "w", 10_000)
        deadline = time.monotonic() + 60
        while (log.stat().st_size if log.exists() else 0) < before + 40 + 7 * kill and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
    told = {int(line) for line in log.read_text().split("\n")[:-1]}
    with open_project(tmp_path / "p") as again:
        assert again.check() == []
        assert told <= {move[2] for move in again.history(case)}
        assert len(told) > 15
