"""Agreement and consensus of a project: over all cases that two annotated, and saved like any other state."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam.annotation.study.project import Project, ProjectObject, create_project
from medsam.errors import DataError
from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan
from medsam.jobs.project_agreement import agree_on_project, list_annotators, save_consensuses

SHAPE = (3, 8, 10)


def project_of(folder: Path) -> Project:
    project = create_project(folder / "p")
    for n in range(2):
        values = np.full(SHAPE, n, np.int16)
        values[1] = 90
        nibabel.save(nibabel.Nifti1Image(values.T, np.diag([-1, -1, 2.0, 1])), folder / f"{n}.nii.gz")
        add_scan(project, folder / f"{n}.nii.gz", intensity=IntensityOptions("MR"))
    return project


def save(project: Project, number: int, who: str, rows: slice) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, rows, 2:6] = 1
    case = project.cases()[number - 1].id
    project.save(case, who, labels, seen=project.head(case, who).version, kind="edit")


def test_cases_of_one_annotator_are_passed_over_and_asked_for_refused(tmp_path: Path) -> None:
    with project_of(tmp_path) as project:
        with pytest.raises(DataError, match="two annotators"):
            list(agree_on_project(project, None, tolerance_mm=2))
        save(project, 1, "ana", slice(1, 5))
        save(project, 1, "bob", slice(2, 6))
        save(project, 2, "ana", slice(2, 6))
        project.set_object(project.cases()[0].id, ProjectObject(1, "liver"))
        [(number, row)] = agree_on_project(project, None, tolerance_mm=2)
        assert (number, row.first, row.second, row.name, row.dice) == (1, "ana", "bob", "liver", 0.75)
        assert row.first_ml == pytest.approx(16 * 2 / 1000)
        with pytest.raises(DataError, match="1 annotators"):
            list(agree_on_project(project, [2], tolerance_mm=2))
        with pytest.raises(DataError, match="case 3"):
            list(agree_on_project(project, [3], tolerance_mm=2))


def test_a_consensus_is_a_state_that_says_of_which_masks_it_is(tmp_path: Path) -> None:
    with project_of(tmp_path) as project:
        for who, rows in (("ana", slice(1, 5)), ("bob", slice(1, 5)), ("eve", slice(4, 8))):
            save(project, 1, who, rows)
        [(number, head)] = save_consensuses(project, None, None)
        case = project.cases()[0].id
        made = project.current(case, "consensus")
        assert made is not None and (number, head.version, made.kind) == (1, 1, "consensus")
        ana = project.current(case, "ana")
        assert ana is not None and np.array_equal(made.labels, ana.labels)
        assert made.event["staple_of"] == {w: project.head(case, w).revision for w in ("ana", "bob", "eve")}
        assert list_annotators(project, project.cases()[0]) == ["ana", "bob", "eve"]
        [(_, again)] = save_consensuses(project, [1], ["ana", "eve"])
        both = project.current(case, "consensus")
        assert again.version == 2 and both is not None and set(np.flatnonzero(both.labels[1].any(axis=1))) == {4}
        assert project.check() == []
