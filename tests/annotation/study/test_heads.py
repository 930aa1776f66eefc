"""Heads: undo and redo, and two who save at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_writer import mask, started

from medsam.annotation.study.project import open_project
from medsam.errors import ConflictError, DataError


def test_undo_and_redo_are_moves_that_survive_a_restart(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    first, _ = project.save(case, "ana", mask(1), seen=0, kind="edit")
    second, _ = project.save(case, "ana", mask(2), seen=1, kind="edit")
    assert project.undo(case, "ana", seen=2).revision == first
    assert project.undo(case, "ana", seen=3).revision is None
    with pytest.raises(DataError, match="nothing to undo"):
        project.undo(case, "ana", seen=4)
    project.close()
    with open_project(tmp_path / "p") as again:
        assert again.current(case, "ana") is None
        assert again.redo(case, "ana", seen=4).revision == first
        assert again.redo(case, "ana", seen=5).revision == second
        with pytest.raises(DataError, match="nothing to redo"):
            again.redo(case, "ana", seen=6)
        again.undo(case, "ana", seen=6)
        third, _ = again.save(case, "ana", mask(3), seen=7, kind="edit")
        with pytest.raises(DataError, match="nothing to redo"):  # a new state ends what was undone
            again.redo(case, "ana", seen=8)
        assert again.revision(third).parent == first
        assert [move[1] for move in again.history(case)] == [
            "save",
            "save",
            "undo",
            "undo",
            "redo",
            "redo",
            "undo",
            "save",
        ]


def test_a_save_on_an_old_version_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    project.save(case, "ana", mask(1), seen=0, kind="edit")
    for seen in (0, 2, 7):
        with pytest.raises(ConflictError, match="stands at version 1"):
            project.save(case, "ana", mask(9), seen=seen, kind="edit")
    assert len(project.history(case)) == 1
    project.save(case, "ben", mask(2), seen=0, kind="edit")  # another annotator has a line of revisions of their own
    assert project.annotators(case) == ["ana", "ben"]
    found = project.current(case, "ana")
    assert found is not None and int(found.labels.max()) == 1
