"""Diameters by hand, and against every pair of corners."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsam.errors import PromptError
from medsam.imaging.axes import longest_of, measure_axes


def test_rectangle_of_3_by_4_mm_has_a_diagonal_of_5():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:7] = True
    axes = measure_axes(mask, (1.0, 1.0), corners=True)
    assert axes.long == pytest.approx(5)
    assert axes.short == pytest.approx(3.75)  # from a corner: 3 down, 2.25 across


def test_centres_of_a_row_and_of_one_pixel():
    mask = np.zeros((5, 9), bool)
    mask[2, 1:8] = True
    axes = measure_axes(mask, (2.0, 0.5), corners=False)
    assert (axes.long, axes.short) == (3.0, 0.0)
    assert sorted(axes.long_xy) == [(1, 2), (7, 2)]
    one = np.zeros((5, 5), bool)
    one[3, 4] = True
    axes = measure_axes(one, (1, 1), corners=False)
    assert axes.long == axes.short == 0
    assert axes.long_xy == ((4, 3), (4, 3))


@pytest.mark.parametrize("seed", range(5))
def test_long_axis_equals_the_largest_distance_of_any_two_pixels(seed):
    mask = gaussian_filter(np.random.default_rng(seed).normal(size=(20, 24)), 2) > 0.05
    spacing = (0.7, 1.3)
    points = np.argwhere(mask) * spacing
    expected = max(np.linalg.norm(a - b) for a, b in combinations(points, 2))
    axes = measure_axes(mask, spacing, corners=False)
    assert axes.long == pytest.approx(expected)
    along = (np.array(axes.long_xy[1]) - axes.long_xy[0]) * (1.3, 0.7)
    across = (np.array(axes.short_xy[1]) - axes.short_xy[0]) * (1.3, 0.7)
    assert abs(along @ across) < 1e-6
    assert axes.short == pytest.approx(np.linalg.norm(across))
    assert axes.short <= axes.long


def test_disc_is_as_wide_as_long():
    y, x = np.mgrid[:101, :101]
    axes = measure_axes((y - 50) ** 2 + (x - 50) ** 2 <= 40.2**2, (0.5, 0.5), corners=True)
    assert axes.long == pytest.approx(40.5, abs=0.4)
    assert axes.short == pytest.approx(40.5, abs=0.6)


def test_an_empty_mask_has_no_axes():
    with pytest.raises(PromptError, match="empty"):
        measure_axes(np.zeros((3, 3), bool), (1, 1), corners=True)


@pytest.mark.parametrize("corners", [False, True])
def test_the_length_alone_is_that_of_the_long_axis(corners):
    rng = np.random.default_rng(3)
    masks = [gaussian_filter(rng.normal(size=(20, 24)), 2) > 0.05, np.eye(5, dtype=bool), np.eye(1, dtype=bool)]
    for mask in masks:
        assert longest_of(mask, (0.7, 1.3), corners=corners) == measure_axes(mask, (0.7, 1.3), corners=corners).long
    with pytest.raises(PromptError, match="empty"):
        longest_of(np.zeros((2, 2), bool), (1, 1), corners=corners)
