"""What viewers draw, as prompts on slices."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import PromptError
from medsam.imaging.prompts import Prompt
from medsam.server.strokes import flat_axis, flat_box, lasso_prompts, settle, solid_box, stroke_prompts


def test_the_thin_axis_is_that_of_the_slices() -> None:
    assert flat_axis((1, 5, 5), 0) == 0 and flat_axis((5, 1, 5), 0) == 1 and flat_axis((5, 5, 5), 0) is None
    assert flat_axis((1, 1, 5), 1) == 1 and flat_axis((1, 1, 5), 2) == 0


def test_half_open_boxes_end_at_their_last_voxel_along_any_axis() -> None:
    bounds = ((2, 3), (10, 21), (5, 9))
    assert flat_box(bounds, 0) == Prompt(1, slice=2, box=(5, 10, 8, 20))
    assert flat_box(((10, 21), (2, 3), (5, 9)), 1) == Prompt(1, slice=2, box=(5, 10, 8, 20))
    assert solid_box(((2, 4), (10, 21), (5, 9)), 0).box_3d == (5, 10, 2, 8, 20, 3)
    assert solid_box(((5, 9), (10, 21), (2, 4)), 2).box_3d == (10, 5, 2, 20, 8, 3)


def test_a_stroke_becomes_points_from_end_to_end_on_each_slice() -> None:
    stroke = np.zeros((2, 5, 30), bool)
    stroke[1, 2, 3:24] = True
    [prompt] = stroke_prompts(stroke, (4, 10, 100), 0, inside=True)
    assert prompt.slice == 5 and prompt.points == tuple((103.0 + x, 12.0) for x in (0, 5, 10, 15, 20))
    assert set(prompt.point_labels) == {1}
    [single] = stroke_prompts(np.ones((1, 1, 1), bool), (0, 7, 8), 0, inside=False)
    assert (single.points, single.point_labels) == (((8.0, 7.0),), (0,))
    sideways = stroke_prompts(stroke, (4, 10, 100), 2, inside=True)
    assert len(sideways) == 21 and sideways[0].points == ((12.0, 5.0),)


def test_a_lasso_becomes_the_box_around_it() -> None:
    lasso = np.zeros((1, 9, 9), bool)
    lasso[0, 2:5, 3:8] = True
    assert lasso_prompts(lasso, (6, 10, 20), 0) == [Prompt(1, slice=6, box=(23, 12, 27, 14))]
    with pytest.raises(PromptError, match="empty"):
        lasso_prompts(lasso & False, (0, 0, 0), 0)


def test_several_points_become_a_box_for_a_model_that_knows_boxes_alone() -> None:
    labels = np.zeros((3, 40, 40), np.uint8)
    labels[2, 5:9, 5:9] = 1
    clicks = [Prompt(1, slice=k, points=((x, y),), point_labels=(s,)) for k, x, y, s in
              ((0, 4, 6, 1), (0, 20, 16, 1), (0, 30, 30, 0), (1, 9, 9, 1), (2, 6, 6, 0))]  # fmt: skip
    first, second, third = settle(clicks, labels, clicks=False)
    assert (first.slice, first.box, first.points) == (0, (4, 6, 20, 16), ())
    assert second.points == ((9, 9),) and third.point_labels == (0,)
    first, *_ = settle(clicks, labels, clicks=True)
    assert first.box is None and first.point_labels == (1, 1, 0)


def test_points_outside_say_nothing_where_there_is_no_object() -> None:
    outside = Prompt(1, slice=0, points=((4, 4),), point_labels=(0,))
    assert settle([outside], np.zeros((1, 9, 9), np.uint8), clicks=True) == []
    assert settle([outside], np.ones((1, 9, 9), np.uint8), clicks=True) == [outside]
