"""What may be written where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_phantom import Phantom, write_series

from command import medsam, refused
from medsam import Grid, Mask, read_image, write_mask
from medsam.errors import OutputError
from medsam.io.formats import write_image
from medsam.jobs.outputs import check_outputs


def test_an_output_that_exists_is_refused_unless_it_is_asked_for(tmp_path):
    (tmp_path / "m.png").write_text("mine")
    with pytest.raises(OutputError, match=r"m\.png exists already.*--overwrite"):
        check_outputs([None, tmp_path / "m.png"], [])
    check_outputs([tmp_path / "m.png", tmp_path / "new.png"], [], overwrite=True)
    check_outputs([tmp_path], [])  # a folder is no file
    with pytest.raises(OutputError, match=r"m\.png is a file; expected a folder"):
        check_outputs([tmp_path / "m.png" / "sheet.png"], [], overwrite=True)


def test_an_input_is_never_an_output_even_on_request(tmp_path):
    (tmp_path / "scan.nii").write_text("mine")
    (tmp_path / "link.nii").symlink_to(tmp_path / "scan.nii")
    for name in ("scan.nii", "link.nii"):
        with pytest.raises(OutputError, match="also read"):
            check_outputs([tmp_path / name], [tmp_path / "scan.nii"], overwrite=True)
    with pytest.raises(OutputError, match="twice"):
        check_outputs([tmp_path / "a.nii", tmp_path / "x" / ".." / "a.nii"], [], overwrite=True)


def mask_on(grid: Grid, path: Path) -> Path:
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[1, 3:8, 3:8] = 1
    write_mask(Mask(labels, grid), path)
    return path


def test_mask_picture_and_record_never_replace_the_image(picture, tmp_path):
    before = picture.read_bytes()
    (tmp_path / "link.png").symlink_to(picture)
    call = f"segment {picture} --box 2,2,12,12 -o"
    for out in (picture, tmp_path / "link.png", tmp_path / "sub" / ".." / "eye.png"):
        assert refused(medsam(f"{call} {out}"), "also read")
    for flag in ("--overlay", "--record"):
        assert refused(medsam(f"{call} {tmp_path}/m.png {flag} {picture}"), "also read")
    assert refused(medsam(f"{call} {tmp_path}/m.png --overlay {tmp_path}/m.png"), "twice")
    assert picture.read_bytes() == before
    assert not (tmp_path / "m.png").exists()


def test_a_slice_of_the_series_is_not_replaced(series, tmp_path):
    first = min(series.iterdir())
    before = first.read_bytes()
    mask = mask_on(read_image(series).grid, tmp_path / "m.nii.gz")
    assert refused(medsam(f"convert {mask} --reference {series} {first}"), "also read")
    assert first.read_bytes() == before
    for extra in ("", "--overwrite"):  # the mask beside the slices may be written again
        assert medsam(f"convert {mask} --reference {series} {series}/seg.dcm {extra}").code == 0


def test_markers_masks_and_scans_are_kept(tmp_path):
    mask, scan = mask_on(Grid((3, 16, 16), spacing_mm=(3, 1, 1)), tmp_path / "m.nii.gz"), tmp_path / "ct.nii.gz"
    write_image(read_image(mask), scan)
    before = mask.read_bytes(), scan.read_bytes()
    call = f"annotate {scan} --markers {mask} --modality MR -o"
    for target in (mask, scan):
        assert refused(medsam(f"{call} {target}"), "also read")
    assert refused(medsam(f"{call} {tmp_path}/m.xyz"), ".xyz")
    assert refused(medsam(f"convert {mask} {mask}"), "also read")
    assert refused(medsam(f"measure {mask} -o {mask}"), "also read")
    assert (mask.read_bytes(), scan.read_bytes()) == before


def test_of_two_series_on_one_grid_the_one_named_is_referenced(series, tmp_path):
    second = "1.2.826.0.1.3680043.8.498.2"
    write_series(series / "late", Phantom(rows=16, columns=16, series=second))
    mask = mask_on(read_image(series, series=second).grid, tmp_path / "m.nii.gz")
    call = f"convert {mask} --reference {series}"
    assert refused(medsam(f"{call} {tmp_path}/none.dcm"), "--series")
    for name in ("dicom-seg", "rtstruct"):
        assert medsam(f"{call} {tmp_path}/{name}.dcm --series {second} --format {name}").code == 0
        written = str(pydicom.dcmread(tmp_path / f"{name}.dcm"))
        assert second in written
        assert f"{Phantom().series}]" not in written
