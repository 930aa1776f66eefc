"""Objects as a user draws them, as prompts; what segment_volume makes of them is in tests/inference/volume/test_objects.py."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.imaging.drawn_objects import make_object_prompts
from medsam.imaging.prompts import Prompt

SHAPE = (6, 40, 48)


def test_objects_come_in_order_each_with_its_prompts() -> None:
    first, second = make_object_prompts(SHAPE, boxes={2: [None, (1, 2, 3, 4)], 1: (5, 6, 7, 8)}, labels=[7, 3])
    assert first == [Prompt(7, slice=1, box=(5, 6, 7, 8))] and second == [Prompt(3, slice=2, box=(1, 2, 3, 4))]
    [[solid]] = make_object_prompts(SHAPE, box3d=(1, 2, 0, 3, 4, 5))
    assert solid == Prompt(1, box_3d=(1, 2, 0, 3, 4, 5))
    [[clicked]] = make_object_prompts(SHAPE, boxes={0: [(1, 1, 9, 9)]}, points={0: [(2, 3, 1), (4, 4, 0)]})
    assert clicked.points == ((2, 3), (4, 4)) and clicked.point_labels == (1, 0) and clicked.box == (1, 1, 9, 9)


def test_nothing_drawn_and_both_ways_at_once_are_refused() -> None:
    for drawn in ({}, {"boxes": {0: [(1, 1, 2, 2)]}, "box3d": (1, 2, 0, 3, 4, 5)}, {"boxes": {9: [(1, 1, 2, 2)]}}):
        with pytest.raises(PromptError):
            make_object_prompts(SHAPE, **drawn)
