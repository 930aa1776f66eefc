"""Boxes between marked slices, and the box for the next slice."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import PromptError
from medsam.imaging.frame import Frame
from medsam.inference.propagate import Box3D, interpolate_boxes, next_box, parse_box3d


def test_corners_move_linearly_between_marked_slices():
    filled = interpolate_boxes({2: [(0, 0, 10, 10)], 6: [(8, 4, 18, 30)]})
    assert filled == {
        2: [(0, 0, 10, 10)],
        3: [(2, 1, 12, 15)],
        4: [(4, 2, 14, 20)],
        5: [(6, 3, 16, 25)],
        6: [(8, 4, 18, 30)],
    }


def test_each_object_is_filled_between_its_own_slices_only():
    filled = interpolate_boxes(
        {0: [(0, 0, 4, 4)], 1: [None, (5, 5, 9, 9)], 2: [(2, 2, 6, 6)], 3: [None, (7, 7, 11, 11)]}
    )
    assert filled[1] == [(1, 1, 5, 5), (5, 5, 9, 9)] and filled[2] == [(2, 2, 6, 6), (6, 6, 10, 10)]
    assert filled[0] == [(0, 0, 4, 4), None] and filled[3] == [None, (7, 7, 11, 11)]


def test_one_marked_slice_and_none_stay_as_they_are():
    assert interpolate_boxes({5: [(1, 2, 3, 4)]}) == {5: [(1, 2, 3, 4)]}
    assert interpolate_boxes({}) == {}


def test_sweeps_start_in_the_middle_and_cover_both_ends():
    solid = Box3D((0, 0, 9, 9), 3, 8)
    assert solid.middle == 5
    assert list(solid.sweep(forward=True)) == [5, 6, 7, 8] and list(solid.sweep(forward=False)) == [4, 3]


@pytest.mark.parametrize(
    "bad",
    [
        (0, 0, 0, 9, 9),
        (0, 0, 5, 9, 9, 4),
        (0, 0, -1, 9, 9, 4),
        (0, 0, 0, 9, 9, 10),
        (0, 0, 0.5, 9, 9, 4),
        (5, 0, 0, 5, 9, 4),
        (0, 0, 0, 99, 9, 4),
    ],
)
def test_a_3d_box_that_leaves_the_volume_is_refused(bad):
    with pytest.raises(PromptError):
        parse_box3d(bad, (10, 20, 30))


def test_the_next_box_is_three_pixels_wider_at_256():
    mask = np.zeros((512, 1024), bool)
    mask[100:201, 300:501] = True
    frame = Frame(512, 1024, 256, "pad")  # a model pixel is 4 slice pixels: 3 are 12
    assert next_box(mask, frame, (0, 0, 1, 1)) == (288, 88, 512, 212)
    assert next_box(mask, Frame(512, 1024, 1024, "squash"), (0, 0, 1, 1)) == (288, 94, 512, 206)


def test_the_next_box_stays_in_the_slice_and_an_empty_mask_gives_the_box_given():
    frame = Frame(100, 100, 256, "pad")
    assert next_box(np.ones((100, 100), bool), frame, (1, 2, 3, 4)) == pytest.approx((0, 0, 100, 100))
    assert next_box(np.zeros((100, 100), bool), frame, (1, 2, 3, 4)) == (1, 2, 3, 4)
