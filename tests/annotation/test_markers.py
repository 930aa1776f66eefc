"""Markers: rectangles from strokes, linking, and patient positions brought onto slices."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.annotation.markers import Marker, check_markers, link_markers, marker_from_world, markers_from_mask
from medsam.errors import GeometryError, PromptError
from medsam.imaging.image import Grid, Mask

GRID = Grid((6, 20, 30), spacing_mm=(5, 1, 1))


def painted(*strokes):
    labels = np.zeros(GRID.shape, np.uint8)
    for k, rows, columns, label in strokes:
        labels[k, rows, columns] = label
    return Mask(labels, GRID)


def test_rectangle_covers_the_lines():
    marker = Marker(1, 0, ((10, 5), (20, 9), (14, 2), (15, 12)))
    assert marker.box == (10, 2, 20, 12)


def test_every_label_is_an_object_with_one_rectangle_a_slice():
    mask = painted((1, 4, slice(3, 9), 1), (1, slice(2, 7), 5, 1), (3, 10, slice(8, 12), 1), (3, 1, slice(20, 25), 2))
    markers = markers_from_mask(mask, GRID)
    assert [(m.label, m.slice, m.box) for m in markers] == [
        (1, 1, (3, 2, 8, 6)),
        (1, 3, (8, 10, 11, 10)),
        (2, 3, (20, 1, 24, 1)),
    ]


def test_strokes_of_one_label_become_objects_that_follow_their_overlap():
    mask = painted((1, 4, slice(3, 9), 1), (1, 15, slice(20, 26), 1), (4, 5, slice(4, 8), 1), (4, 14, slice(22, 28), 1))
    whole = markers_from_mask(mask, GRID)
    apart = markers_from_mask(mask, GRID, objects="strokes")
    assert {m.label for m in whole} == {1}
    assert [(m.label, m.slice, m.box[0]) for m in apart] == [(1, 1, 3), (2, 1, 20), (1, 4, 4), (2, 4, 22)]


def test_lines_that_touch_on_a_slice_are_one_object():
    cross = [Marker(1, 2, ((0, 5), (10, 5))), Marker(1, 2, ((5, 0), (5, 9))), Marker(1, 2, ((20, 20), (25, 20)))]
    linked = link_markers(cross)
    assert [(m.label, m.box) for m in linked] == [(1, (0, 0, 10, 9)), (2, (20, 20, 25, 20))]


def test_markers_outside_the_scan_are_named():
    with pytest.raises(PromptError, match=r"object 2 on slice 9 at x 1 to 5, y 1 to 1.*slices 0 to 5"):
        check_markers([Marker(1, 2, ((1, 1), (5, 1))), Marker(2, 9, ((1, 1), (5, 1)))], GRID)
    with pytest.raises(PromptError, match="outside"):
        check_markers([Marker(1, 2, ((1, 1), (31, 1)))], GRID)
    with pytest.raises(PromptError, match="no markers"):
        check_markers([], GRID)


def test_marker_volume_on_another_grid_is_refused_with_the_distance():
    shifted = Mask(np.ones(GRID.shape, np.uint8), Grid(GRID.shape, affine=np.array(GRID.affine) + np.eye(4, k=3) * 7))
    with pytest.raises(GeometryError, match="7 mm off"):
        markers_from_mask(shifted, GRID)
    with pytest.raises(PromptError, match="empty"):
        markers_from_mask(painted(), GRID)


def test_line_in_mm_lands_on_its_slice_also_on_an_oblique_grid():
    turn = np.array([[0.0, 0.6, 0.8], [0.0, -0.8, 0.6], [1.0, 0.0, 0.0]]) * (5, 1, 1)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (10, -20, 30)
    oblique = Grid((6, 20, 30), affine=affine)
    ends = oblique.to_world(np.array([(3, 4, 7), (3, 9, 15)]))
    marker = marker_from_world(ends, oblique, 4)
    assert (marker.label, marker.slice) == (4, 3)
    assert np.allclose(marker.points_xy, [(7, 4), (15, 9)])


def test_line_across_slices_is_refused():
    with pytest.raises(PromptError, match=r"slice 1\.0 to slice 4\.0"):
        marker_from_world(GRID.to_world(np.array([(1, 2, 2), (4, 2, 9)])), GRID, 1)


@pytest.mark.parametrize("bad", [{"label": 0}, {"points_xy": ()}, {"points_xy": ((float("nan"), 1),)}])
def test_marker_that_is_none_is_refused(bad):
    with pytest.raises(PromptError):
        Marker(**{"label": 1, "slice": 0, "points_xy": ((1, 2), (3, 4))} | bad)
