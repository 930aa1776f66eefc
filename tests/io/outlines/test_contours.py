"""Tracing and filling: exact for every region, and by hand for small ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from medsam.io.outlines.contours import fill, join_holes, measure_area, shrink, trace

regions = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


def test_one_pixel_is_the_square_around_its_centre():
    region = np.zeros((3, 4), dtype=bool)
    region[1, 2] = True
    (polygon,) = trace(region)
    assert sorted(map(tuple, polygon.outer.tolist())) == [(2, 1), (2, 2), (3, 1), (3, 2)]
    assert polygon.holes == ()


def test_a_ring_has_one_hole_and_the_area_of_its_pixels():
    region = np.ones((3, 3), dtype=bool)
    region[1, 1] = False
    (polygon,) = trace(region)
    assert [measure_area(ring) for ring in polygon.rings] == [9, -1]


def test_pixels_that_touch_at_a_corner_are_two_pieces():
    assert len(trace(np.eye(2, dtype=bool))) == 2


def test_an_empty_region_has_no_outline_and_no_ring_fills_nothing():
    assert trace(np.zeros((4, 4), dtype=bool)) == []
    assert not fill([], 4, 4).any()


@settings(max_examples=200, deadline=None)
@given(regions)
def test_filling_the_outlines_gives_the_region_back(region):
    polygons = trace(region)
    rings = [ring for polygon in polygons for ring in polygon.rings]
    assert np.array_equal(fill(rings, *region.shape), region)
    assert sum(measure_area(ring) for ring in rings) == region.sum()
    for ring in rings:
        assert len(np.unique(ring, axis=0)) == len(ring)  # simple: no point comes twice


@settings(max_examples=200, deadline=None)
@given(regions)
def test_a_keyhole_ring_fills_to_the_polygon_with_its_holes(region):
    inner = [shrink(polygon, 1e-3) for polygon in trace(region)]
    assert np.array_equal(fill([join_holes(polygon) for polygon in inner], *region.shape), region)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 9), st.floats(-3, 9)), min_size=3, max_size=8))
def test_any_polygon_fills_the_centres_that_lie_inside_it(points):
    ring = np.array(points)
    pixels = np.argwhere(np.ones((6, 7), dtype=bool))
    starts, steps = ring, np.roll(ring, -1, axis=0) - ring
    for row, column in pixels:
        x, y = column + 0.5, row + 0.5
        lengths = np.maximum((steps**2).sum(axis=1), 1e-30)
        share = np.clip(((np.array([x, y]) - starts) * steps).sum(axis=1) / lengths, 0, 1)
        if np.abs(starts + share[:, None] * steps - (x, y)).max(axis=1).min() < 1e-6:
            continue  # on the edge
        crossings = 0
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if (y0 <= y) != (y1 <= y):
                crossings += x0 + (y - y0) / (y1 - y0) * (x1 - x0) < x
        assert fill([ring], 6, 7)[row, column] == bool(crossings % 2)


def test_a_triangle_by_hand():
    ring = np.array([(0, 0), (4, 0), (0, 4)])
    assert fill([ring], 4, 4).astype(int).tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_thin_slices(shape):
    region = np.ones(shape, dtype=bool)
    (polygon,) = trace(region)
    assert np.array_equal(fill(polygon.rings, *shape), region)
