"""A click lies where a reader would put it."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import PromptError
from medsam.imaging.clicks import find_innermost_point


def test_the_click_is_the_middle_of_a_square():
    mask = np.zeros((9, 12), bool)
    mask[2:7, 5:10] = True
    assert find_innermost_point(mask).tolist() == [7, 4]


def test_the_click_on_a_ring_lies_on_the_ring():
    y, x = np.ogrid[:41, :41]
    distance = np.hypot(y - 20, x - 20)
    ring = (distance < 15) & (distance > 8)
    x0, y0 = find_innermost_point(ring).astype(int)
    assert ring[y0, x0]
    assert 11 <= np.hypot(y0 - 20, x0 - 20) <= 12


def test_the_outside_of_the_slice_is_background():
    assert find_innermost_point(np.ones((5, 7), bool)).tolist() == [2, 2]


def test_one_pixel_and_none():
    mask = np.zeros((3, 3), np.uint8)
    with pytest.raises(PromptError, match="empty"):
        find_innermost_point(mask)
    mask[2, 0] = 1
    assert find_innermost_point(mask).tolist() == [0, 2]
