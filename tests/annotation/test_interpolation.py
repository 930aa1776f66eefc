"""Boxes between marked slices, by hand; the released way against a straight reading of it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.ndimage import distance_transform_edt

from medsam.annotation.interpolation import boxes_from_markers, estimate_roundness, interpolate_masks
from medsam.annotation.markers import Marker
from medsam.errors import PromptError
from medsam.imaging.box_options import BoxOptions
from medsam.imaging.image import Grid

GRID = Grid((20, 100, 120), spacing_mm=(5, 1, 1))


def marker(label, index, *box):
    return Marker(label, index, (box[:2], box[2:]))


def test_sides_move_linearly():
    boxes = boxes_from_markers(
        [marker(1, 2, 10, 20, 30, 40), marker(1, 6, 50, 20, 70, 60)], GRID, BoxOptions("linear", margin_px=0)
    )
    assert list(boxes[1]) == [2, 3, 4, 5, 6]
    assert boxes[1][3] == (20, 20, 40, 45)
    assert boxes[1][4] == (30, 20, 50, 50)


def test_a_round_object_is_wider_between_two_marks_and_a_tube_is_not():
    grid = Grid((9, 100, 100), spacing_mm=(5, 1, 0.5))
    two = boxes_from_markers(
        [marker(1, 2, 40, 40, 60, 60), marker(1, 6, 40, 40, 60, 60)], grid, BoxOptions(margin_px=0)
    )[1]
    assert two[2] == two[6] == (40, 40, 60, 60)
    # half a ball's gain, 0.5 * 2 * 2 slices * 25 mm^2 = 50 mm^2, at half sides of 5 mm across and 10 mm down
    half_x, half_y = np.sqrt(5**2 + 50) / 0.5, np.sqrt(10**2 + 50)
    assert two[4] == pytest.approx((50 - half_x, 50 - half_y, 50 + half_x, 50 + half_y))
    tube = [marker(1, k, 40, 40, 60, 60) for k in (0, 4, 8)]
    assert boxes_from_markers(tube, grid, BoxOptions(margin_px=0))[1][2][3] == pytest.approx(
        50 + np.sqrt(10**2 + 0.25 / 1.5 * 2 * 2 * 25)
    )
    straight = boxes_from_markers(tube, grid, BoxOptions("linear", margin_px=0))[1]
    assert set(straight.values()) == {(40, 40, 60, 60)}


def test_without_a_spacing_sides_move_straight():
    drawn = [marker(1, 2, 40, 40, 60, 60), marker(1, 6, 40, 40, 60, 60)]
    assert boxes_from_markers(drawn, Grid((9, 100, 100)), BoxOptions(margin_px=0))[1][4] == (40, 40, 60, 60)


def test_roundness_is_read_from_a_mark_between_two_others():
    ball = {k: (50 - r, 50 - r, 50 + r, 50 + r) for k, r in ((0, 0.0), (3, np.sqrt(3 * 3 * 4)), (6, 0.0))}
    found = estimate_roundness(ball, [[0, 3, 6]], (2.0, 1.0, 1.0))
    assert found == pytest.approx((0.25 + 1.0) / 1.5)
    assert estimate_roundness(ball, [[0, 3], [6]], (2.0, 1.0, 1.0)) == 0.5


def test_objects_are_interpolated_apart_and_one_slice_is_enough():
    boxes = boxes_from_markers(
        [marker(3, 1, 10, 10, 20, 20), marker(7, 4, 5, 5, 9, 9), marker(3, 3, 10, 10, 20, 20)], GRID, BoxOptions()
    )
    assert {label: list(own) for label, own in boxes.items()} == {3: [1, 2, 3], 7: [4]}


def test_gaps_wider_than_allowed_stay_open():
    drawn = [marker(1, k, 10, 10, 20, 20) for k in (1, 3, 12, 13)]
    assert list(boxes_from_markers(drawn, GRID, BoxOptions(margin_px=0, max_gap=5))[1]) == [1, 2, 3, 12, 13]
    assert list(boxes_from_markers(drawn, GRID, BoxOptions(margin_px=0))[1]) == list(range(1, 14))


def test_margin_is_cut_at_the_edge_and_flat_lines_get_a_pixel():
    boxes = boxes_from_markers([marker(1, 0, 2, 50, 110, 50)], GRID, BoxOptions(margin_px=5))
    assert boxes[1][0] == (0, 45, 115, 55)
    assert boxes_from_markers([marker(1, 0, 2, 50, 110, 50)], GRID, BoxOptions(margin_px=0))[1][0] == (
        2,
        49.5,
        110,
        50.5,
    )
    assert boxes_from_markers([marker(1, 0, 0, 0, 0, 0)], GRID, BoxOptions(margin_px=0))[1][0] == (0, 0, 1, 1)


def released(marked, shape, shift=5):
    """What the released scripts do, read straight: rectangles, distance maps, boxes."""
    height, width = shape[1:]
    volume = np.zeros(shape, bool)
    for k, (x0, y0, x1, y1) in marked.items():
        volume[k, max(0, y0 - shift) : min(height, y1 + shift), max(0, x0 - shift) : min(width, x1 + shift)] = True
    slices = sorted(marked)
    maps = [distance_transform_edt(~volume[k]) for k in slices]
    blend = interp1d(slices, maps, axis=0)
    out = {}
    for first, last in pairwise(slices):
        for k in range(first, last + 1):
            ys, xs = np.where(np.round(blend(k)).astype(int) <= 0)
            if len(ys):
                out[k] = (
                    max(0, xs.min() - shift),
                    max(0, ys.min() - shift),
                    min(width, xs.max() + shift),
                    min(height, ys.max() + shift),
                )
    return out


@pytest.mark.parametrize("second", [(30, 30, 60, 50), (12, 20, 30, 38), (80, 70, 110, 95)])
def test_legacy_equals_the_released_way(second):
    marked = {3: (10, 20, 40, 40), 7: second, 12: (20, 20, 45, 45)}
    drawn = [marker(1, k, *box) for k, box in marked.items()]
    ours = boxes_from_markers(drawn, GRID, BoxOptions("legacy"))[1]
    assert ours == released(marked, GRID.shape)


def test_legacy_shrinks_boxes_that_move_and_loses_those_that_do_not_overlap():
    drawn = [marker(1, 0, 10, 10, 40, 40), marker(1, 4, 20, 20, 50, 50)]
    how = BoxOptions("legacy", margin_px=0)
    legacy, linear = (boxes_from_markers(drawn, GRID, h)[1][2] for h in (how, BoxOptions("linear", margin_px=0)))
    assert linear == (15, 15, 45, 45)
    assert legacy[2] - legacy[0] < 25
    apart = [marker(1, 0, 0, 0, 10, 10), marker(1, 4, 50, 50, 70, 70)]
    assert list(boxes_from_markers(apart, GRID, how)[1]) == [0, 4]


def test_legacy_refuses_what_it_would_drop():
    with pytest.raises(PromptError, match="object 2 is marked on slice 5 alone"):
        boxes_from_markers(
            [marker(1, 1, 1, 1, 9, 9), marker(1, 3, 1, 1, 9, 9), marker(2, 5, 1, 1, 9, 9)],
            GRID,
            BoxOptions("legacy"),
        )


@pytest.mark.parametrize(("how", "wide"), [({}, 10), ({"margin_px": 3}, 3), ({"interpolation": "linear"}, 10)])
def test_the_margin_is_a_share_of_the_slice_where_none_is_given(how, wide):
    grid = Grid((4, 256, 512))
    boxes = boxes_from_markers([marker(1, 2, 200, 100, 240, 140)], grid, BoxOptions(**how))
    assert boxes[1][2] == (200 - wide, 100 - wide, 240 + wide, 140 + wide)
    assert BoxOptions("legacy").find_margin((256, 512)) == 5, "as the released scripts, twice"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 19), st.floats(0, 119), st.floats(0, 99), st.floats(0, 119), st.floats(0, 99)),
        min_size=1,
        max_size=5,
    ),
    st.floats(0, 20),
)
def test_every_box_lies_in_the_slice_and_is_a_pixel_wide(rows, margin):
    boxes = boxes_from_markers([marker(1, *row) for row in rows], GRID, BoxOptions(margin_px=margin))
    for x0, y0, x1, y1 in boxes[1].values():
        assert 0 <= x0 <= x1 - 1 + 1e-9
        assert x1 <= 120
        assert 0 <= y0 <= y1 - 1 + 1e-9
        assert y1 <= 100
    assert list(boxes[1]) == list(range(min(r[0] for r in rows), max(r[0] for r in rows) + 1))


def disc(cy: float, cx: float, radius: float) -> np.ndarray:
    y, x = np.ogrid[:60, :60]
    return (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


def test_a_disc_that_moves_and_widens_is_half_way_between():
    [middle] = interpolate_masks(disc(20, 20, 6), disc(20, 20, 12), 1)
    assert np.count_nonzero(middle ^ disc(20, 20, 9)) <= 0.06 * np.count_nonzero(disc(20, 20, 9))
    moved = interpolate_masks(disc(15, 10, 5), disc(15, 40, 5), 2)  # apart: distance maps alone would leave nothing
    assert np.array_equal(moved, [disc(15, 20, 5), disc(15, 30, 5)])


def test_equal_masks_stay_and_an_empty_one_or_no_slice_between_is_told():
    full = np.ones((4, 5), bool)
    assert interpolate_masks(full, full, 3).all()
    one = np.zeros((4, 5), bool)
    one[2, 3] = True
    assert np.array_equal(interpolate_masks(one, one, 2, (3.0, 0.5)), [one, one])
    assert interpolate_masks(one, one, 0).shape == (0, 4, 5)
    with pytest.raises(PromptError, match="without the object"):
        interpolate_masks(one, np.zeros((4, 5), bool), 1)
