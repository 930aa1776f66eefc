"""Overlays: what is drawn lies where the labels and boxes lie."""

from __future__ import annotations

import numpy as np

from medsam.imaging.overlay import BOX_COLOR, draw_overlay, tile_pictures, write_caption
from medsam.imaging.palette import PALETTE

GREY = np.full((8, 8, 3), 100, np.uint8)


def test_the_contour_has_the_labels_colour_and_the_inside_stays() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[2:7, 2:7] = 2
    drawn = draw_overlay(GREY, labels, side_px=8)
    assert drawn.shape == (8, 8, 3)
    assert drawn[2, 2].tolist() == list(PALETTE[1])
    assert drawn[4, 4].tolist() == drawn[0, 0].tolist() == [100, 100, 100]
    assert draw_overlay(GREY, labels, colors={2: (1, 2, 3)}, side_px=8)[6, 6].tolist() == [1, 2, 3]


def test_a_small_slice_is_enlarged_by_a_whole_factor_and_boxes_with_it() -> None:
    drawn = draw_overlay(GREY, np.zeros((8, 8), np.uint8), boxes=[(1, 1, 6, 6)], side_px=20)
    assert drawn.shape == (24, 24, 3)
    assert drawn[4, 4].tolist() == list(BOX_COLOR)  # the centre of pixel 1 lies at (1 + 0.5) * 3


def test_points_are_green_inside_and_red_outside() -> None:
    drawn = draw_overlay(GREY, np.zeros((8, 8), np.uint8), points=[(2, 2, 1), (6, 6, 0)], side_px=64)
    assert drawn[20, 20].tolist() == [0, 220, 0]
    assert drawn[52, 52].tolist() == [230, 0, 0]


def test_a_caption_is_written_into_the_upper_left_corner_alone() -> None:
    drawn = write_caption(np.zeros((64, 64, 3), np.uint8), "CT")
    assert drawn[:20].max() > 200
    assert drawn[32:].max() == 0


def test_pictures_are_laid_into_rows_of_tiles() -> None:
    sheet = tile_pictures([GREY, GREY, GREY], columns=2, tile_px=12)
    assert sheet.shape == (24, 24, 3)
    assert [int(sheet[y, x].max()) for y, x in ((6, 6), (6, 18), (18, 6), (18, 18))] == [100, 100, 100, 0]
