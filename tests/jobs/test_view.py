"""A slice with coordinates: a pixel lies where the docstring says."""

from __future__ import annotations

import nibabel
import numpy as np
from PIL import Image as Picture

from command import medsam, refused
from medsam.jobs.view import draw_coordinates


def test_the_centre_of_a_pixel_lies_where_the_grid_says():
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[13, 27] = 255
    drawn = draw_coordinates(pixels)
    factor = 20  # 50 pixels become at least 1000
    assert drawn.shape == (40 * factor + 28, 50 * factor + 56, 3)
    y, x = 28 + int(13.5 * factor), 56 + int(27.5 * factor)
    assert drawn[y, x].min() > 150
    assert drawn[y, x + factor].max() == 0
    column = drawn[28 + 7, 56:, 0].astype(int)  # between the lines of y 0 and 5
    lines = np.flatnonzero(column > 40)
    assert lines.tolist() == [int((x + 0.5) * factor) for x in range(0, 50, 5)]


def test_a_slice_of_a_volume_is_drawn_in_its_window(tmp_path):
    hu = np.full((5, 30, 40), -1000, np.int16)
    hu[3, 10:20, 10:20] = 240
    nibabel.save(nibabel.Nifti1Image(hu.T, np.eye(4)), tmp_path / "ct.nii")
    call = f"view {tmp_path}/ct.nii --modality CT --window soft-tissue -o {tmp_path}/look.png"
    ended = medsam(f"{call} --slice 3")
    assert "slice 3 of 5, 40 x 30 pixels" in ended.out
    drawn = np.asarray(Picture.open(tmp_path / "look.png"))
    factor = 25
    assert drawn[28 + int(15.2 * factor), 56 + int(15.2 * factor)].min() > 150
    assert drawn[28 + int(5.2 * factor), 56 + int(5.2 * factor)].max() == 0
    assert refused(medsam(call), "exists already")
    assert medsam(f"{call} --overwrite --json").json["slice"] == 2
    assert refused(medsam(f"{call} --overwrite --slice 5"), "slice is 5")
    assert refused(medsam(f"view {tmp_path}/ct.nii -o {tmp_path}/x.png"), "--modality")
    assert refused(medsam(f"view {tmp_path}/ct.nii --modality MR -o {tmp_path}/x.jpg"), ".png")
