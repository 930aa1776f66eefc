"""The picture of a run shows the prompted slices, and at most twelve."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.errors import OutputError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.prompts import Prompt
from medsam.jobs.picture import check_picture, find_box, write_picture

GRID = Grid((40, 64, 64))
IMAGE = Image(np.zeros(GRID.shape, np.uint8), GRID)
MASK = Mask(np.zeros(GRID.shape, np.uint8), GRID)


def test_a_box_lies_on_its_slice_and_a_3d_box_on_all_of_its(tmp_path):
    flat, deep = Prompt(slice=3, box=(1, 2, 3, 4)), Prompt(box_3d=(1, 2, 5, 3, 4, 7))
    assert [find_box(flat, k) for k in (2, 3)] == [None, (1, 2, 3, 4)]
    assert [find_box(deep, k) for k in (4, 5, 7, 8)] == [None, (1, 2, 3, 4), (1, 2, 3, 4), None]
    assert find_box(Prompt(box=(1, 2, 3, 4)), 0) == (1, 2, 3, 4)


def test_one_slice_is_shown_whole_and_thirty_as_tiles(tmp_path):
    write_picture(tmp_path / "one.png", IMAGE, MASK, [Prompt(slice=3, box=(10, 10, 50, 50))])
    write_picture(tmp_path / "many.png", IMAGE, MASK, [Prompt(box_3d=(10, 10, 5, 50, 50, 34))])
    one, many = (np.asarray(Picture.open(tmp_path / name)) for name in ("one.png", "many.png"))
    assert one.max() > 0
    assert many.shape[0] * many.shape[1] >= 10 * 512 * 512
    assert many.shape[0] * many.shape[1] <= 16 * 520 * 520


def test_other_suffixes_are_refused(tmp_path):
    check_picture(None)
    with pytest.raises(OutputError, match=r"a \.png file"):
        check_picture(tmp_path / "look.jpg")
