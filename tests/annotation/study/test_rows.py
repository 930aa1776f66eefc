"""Rows come out as the values that went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from project_writer import mask, started

from medsam.annotation.study.project import ProjectObject


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
