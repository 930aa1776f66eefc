"""Rows come out as the values that went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from project_writer import mask, started

from medsam.annotation.study.project import ProjectObject
from medsam.annotation.study.rows import check_object
from medsam.errors import DataError


def test_what_was_saved_comes_back_as_values(tmp_path: Path) -> None:
    project, case = started(tmp_path / "p")
    with project:
        project.set_object(case, ProjectObject(2, "liver", (1, 2, 3), ("SCT", "10200004", "Liver")))
        revision, _ = project.save(
            case, "ana", mask(2), seen=0, kind="edit", event={"a": [1]}, locked={2: frozenset({0, 1})}
        )
        found = project.revision(revision)
        assert project.objects(case) == [ProjectObject(2, "liver", (1, 2, 3), ("SCT", "10200004", "Liver"))]
        assert (found.kind, found.event, found.locked) == ("edit", {"a": [1]}, {2: frozenset({0, 1})})
        assert found.labels.dtype == np.uint16 and np.array_equal(found.labels, mask(2))
        assert project.case(case).shape == (2, 4, 5)


@pytest.mark.parametrize("item", [
    ProjectObject(0, "a"), ProjectObject(70000, "a"), ProjectObject(1, "a\0b"), ProjectObject(1, "a\nSegment9_Name:=b"),
    ProjectObject(1, "\ud800"), ProjectObject(1, "a" * 201), ProjectObject(1, "a", (0, 256, 0)),
    ProjectObject(1, "a", None, ("SCT", "1" * 1000, "Liver")), ProjectObject(1, "a", None, ("SCT", "1", "\x1b[2J")),
])  # fmt: skip
def test_a_description_that_no_file_can_hold_is_refused(item: ProjectObject) -> None:
    with pytest.raises(DataError):
        check_object(item)
    check_object(ProjectObject(1, "Lésion 肝 🫀\u00a0" * 15, (0, 0, 255), ("SCT", "10200004", "Liver")))
