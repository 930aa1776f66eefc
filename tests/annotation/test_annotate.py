"""Markers to a mask, on a model whose masks can be told beforehand: what is bright inside the box."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.annotation.annotate import annotate
from medsam.annotation.markers import Marker
from medsam.errors import GeometryError, IntensityError, PromptError
from medsam.imaging.image import Grid, Image, Mask

AFFINE = np.array([[0, 0, 0.5, 10], [0, 0.5, 0, 20], [3, 0, 0, 30], [0, 0, 0, 1.0]])


@pytest.fixture
def scan():
    """A bright slanted bar of 40 x 30 pixels that moves 4 pixels right a slice, in 9 x 256 x 256."""
    values = np.full((9, 256, 256), 30, np.uint8)
    for k in range(1, 8):
        values[k, 100:130, 50 + 4 * k : 90 + 4 * k] = 220
    return Image(values, Grid(values.shape, affine=AFFINE), normalized=True)


def cross(label, k):
    x0, x1 = 50 + 4 * k, 89 + 4 * k
    return [Marker(label, k, ((x0, 115), (x1, 115)), "bar"), Marker(label, k, ((x0 + 20, 100), (x0 + 20, 129)))]


def test_two_marked_slices_give_the_whole_object(bright, scan):
    result = annotate(bright, scan, cross(1, 1) + cross(1, 7))
    assert np.array_equal(result.mask.labels > 0, scan.values > 127)
    assert list(result.boxes[1]) == list(result.scores[1]) == list(range(1, 8))
    assert result.boxes[1][7] == (78 - 5, 100 - 5, 117 + 5, 129 + 5)  # the bare rectangle and the default margin
    linear = annotate(bright, scan, cross(1, 1) + cross(1, 7), interpolation="linear").boxes[1]
    assert linear[4] == (66 - 5, 100 - 5, 105 + 5, 129 + 5)
    assert result.boxes[1][4][0] < linear[4][0] < linear[4][2] < result.boxes[1][4][2]
    assert set(result.seconds) == {"boxes", "encode", "decode"}
    assert result.mask.names == {1: "bar"}
    assert result.mask.grid.same_as(scan.grid)


def test_slices_shared_by_objects_are_encoded_once(bright, scan):
    annotate(bright, scan, cross(1, 1) + cross(1, 7) + cross(2, 3) + cross(2, 5))
    assert bright.runtime.encoded == 7


def test_labels_are_kept_and_the_higher_one_stays_on_top(bright, scan):
    result = annotate(bright, scan, cross(3, 1) + cross(3, 7) + cross(300, 3))
    assert set(result.mask.ids) == {3, 300}
    assert (result.mask.labels[3] == 300).sum() == 40 * 30
    assert list(result.boxes[300]) == [3]


def test_marker_volume_is_read_as_markers(bright, scan):
    strokes = np.zeros(scan.grid.shape, np.uint8)
    for k in (2, 6):
        strokes[k, 115, 50 + 4 * k : 90 + 4 * k] = 1
        strokes[k, 100:130, 70 + 4 * k] = 1
    result = annotate(bright, scan, Mask(strokes, scan.grid))
    expected = (scan.values > 127) & (np.arange(9) >= 2)[:, None, None] & (np.arange(9) <= 6)[:, None, None]
    assert np.array_equal(result.mask.labels > 0, expected)
    assert np.array_equal(annotate(bright, scan, strokes).mask.labels, result.mask.labels)  # its array alone will do
    with pytest.raises(PromptError, match="markers are str"):
        annotate(bright, scan, "markers.nii.gz")
    with pytest.raises(GeometryError):
        annotate(bright, scan, Mask(strokes, Grid(strokes.shape, affine=AFFINE + 0.2 * np.eye(4, k=3))))


def test_any_plane_gives_the_same_mask_on_the_scans_own_grid(bright, scan):
    turned = Image(
        np.ascontiguousarray(np.moveaxis(scan.values, 0, 2)),
        Grid((256, 256, 9), affine=AFFINE[:, [1, 2, 0, 3]]),
        normalized=True,
    )
    result = annotate(bright, turned, cross(1, 1) + cross(1, 7), plane="axial")
    assert result.mask.labels.shape == (256, 256, 9)
    assert np.array_equal(result.mask.labels > 0, turned.values > 127)


def test_legacy_makes_other_boxes_and_fills_slices_they_leave_empty(bright, scan):
    far = [Marker(1, 1, ((54, 100), (93, 129))), Marker(1, 7, ((78, 100), (117, 129)))]
    legacy = annotate(bright, scan, far, interpolation="legacy")
    linear = annotate(bright, scan, far)
    assert legacy.boxes[1][1] == (49 - 5, 95 - 5, 97 + 5, 133 + 5)  # the margin twice, the last row and column lost
    assert legacy.boxes[1][4] != linear.boxes[1][4]
    small = [Marker(1, 1, ((54, 100), (60, 106))), Marker(1, 7, ((104, 120), (110, 126)))]
    bridged = annotate(bright, scan, small, interpolation="legacy", margin_px=0)
    assert list(bridged.boxes[1]) == list(range(1, 8))


def test_bad_input_is_refused(bright, scan):
    raw = Image(scan.values.astype(np.int16), scan.grid)
    with pytest.raises(IntensityError):
        annotate(bright, raw, cross(1, 1))
    with pytest.raises(PromptError, match="slice 12"):
        annotate(bright, scan, [Marker(1, 12, ((1, 1), (5, 5)))])
    with pytest.raises(PromptError, match="plane"):
        annotate(bright, scan, cross(1, 1), plane=3)
    with pytest.raises(GeometryError, match="plane"):
        annotate(bright, scan, cross(1, 1), plane="oblique")


def test_no_margin_gives_the_bare_rectangle_over_the_lines(bright, scan):
    bare = annotate(bright, scan, cross(1, 1) + cross(1, 7), interpolation="linear", margin_px=0)
    assert bare.boxes[1][4] == (66, 100, 105, 129)


def test_markers_drawn_on_the_same_voxels_in_another_order_are_turned(bright, scan):
    strokes = np.zeros(scan.grid.shape, np.uint8)
    for k in (2, 6):
        strokes[k, 115, 50 + 4 * k : 90 + 4 * k] = 1
        strokes[k, 100:130, 70 + 4 * k] = 1
    wanted = annotate(bright, scan, Mask(strokes, scan.grid)).mask
    upside_down = AFFINE @ np.array([[-1, 0, 0, 8], [0, -1, 0, 255], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    turned = Mask(strokes[::-1, ::-1], Grid(strokes.shape, affine=upside_down))  # as another program stored it
    result = annotate(bright, scan, turned).mask
    assert np.array_equal(result.labels, wanted.labels) and result.grid is scan.grid
    elsewhere = AFFINE.copy()
    elsewhere[0, 3] += 0.2
    with pytest.raises(GeometryError, match="mm away"):
        annotate(bright, scan, Mask(strokes, Grid(strokes.shape, affine=elsewhere)))
