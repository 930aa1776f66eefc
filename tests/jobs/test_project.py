"""Scans of a project: found again by their voxels, listed, exported on their own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_scan import scan

import medsam
from medsam.annotation.study.project import ProjectObject, create_project
from medsam.errors import DataError, IntensityError, OutputError
from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan, export_masks, find_case_by_number, fingerprint, read_case


def test_a_fingerprint_is_of_voxels_shape_and_type_whatever_the_byte_order() -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert fingerprint(values) == fingerprint(values.astype(">i2")) == fingerprint(values[::-1][::-1])
    assert len({fingerprint(v) for v in (values, values.reshape(2, 4, 3), values.astype(np.int32), values + 1)}) == 4


def test_a_scan_is_added_once_and_found_changed(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    path = scan(tmp_path / "a.nii.gz")
    with pytest.raises(IntensityError, match="window"):
        add_scan(project, path, intensity=IntensityOptions("CT"))
    case = add_scan(project, path, intensity=IntensityOptions("CT", "400,40"))
    assert (case.shape, dict(case.options)) == ((3, 8, 10), {"modality": "CT", "window": "400,40"})
    image = read_case(case)
    assert image.values[1, 2, 3] == 100 and image.modality == "CT"
    with pytest.raises(DataError, match="open case 1"):
        add_scan(project, scan(tmp_path / "b.nii.gz"), intensity=IntensityOptions("MR"))
    scan(path, value=99)
    with pytest.raises(DataError, match="other voxels"):
        read_case(case)
    path.unlink()
    with pytest.raises(DataError, match="case 1 cannot be read") as caught:
        read_case(case)
    assert str(tmp_path) not in str(caught.value)


def test_masks_are_exported_on_the_grid_of_the_scan(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p")
    case = add_scan(project, scan(tmp_path / "a.nii.gz"), intensity=IntensityOptions("MR"))
    with pytest.raises(DataError, match="no mask"):
        list(export_masks(project, tmp_path / "out"))
    labels = np.zeros(case.shape, np.uint16)
    labels[1, 2, 3] = 2
    project.save(case.id, "ana b/../c", labels, seen=0, kind="edit")
    project.set_object(case.id, ProjectObject(2, "cyst", (1, 2, 3)))
    [path] = export_masks(project, tmp_path / "out", suffix=".seg.nrrd")
    assert path == tmp_path / "out/case-1-ana-b-c.seg.nrrd"
    mask = medsam.read_mask(path, reference=tmp_path / "a.nii.gz")
    assert np.array_equal(mask.labels > 0, labels > 0)
    assert "cyst" in mask.names.values()
    with pytest.raises(OutputError, match="exists already"):
        list(export_masks(project, tmp_path / "out", suffix=".seg.nrrd"))
    assert list(export_masks(project, tmp_path / "out", suffix=".seg.nrrd", overwrite=True)) == [path]
    assert find_case_by_number(project, 1) == project.case(case.id)
    with pytest.raises(DataError, match="case 2"):
        find_case_by_number(project, 2)
