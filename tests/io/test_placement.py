"""Masks laid on a reference: turned, flipped, cut and padded, never resampled; overlaps refused or settled."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid, Mask
from medsam.io.placement import LabelPainter, Segment, choose_segments, place

AFFINE = np.array([[0.1, 0.7, 0.2, -5], [0.3, -0.1, 0.9, 7], [2.0, 0.1, -0.2, 11], [0, 0, 0, 1]])


def reference() -> Grid:
    return Grid((4, 5, 6), affine=AFFINE)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product((False, True), repeat=3)))
def test_the_same_voxels_in_any_order_come_back_in_the_references(order, flips):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6))
    turned = np.transpose(labels, order)
    affine = AFFINE[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    mask = Mask(turned, Grid(turned.shape, affine=affine))
    assert np.array_equal(place(mask, reference()).labels, labels)


def test_a_part_is_padded_with_background_where_it_belongs():
    affine = AFFINE.copy()
    affine[:3, 3] = reference().to_world(np.array([1, 2, 3]))[0]
    placed = place(Mask(np.full((2, 1, 2), 7), Grid((2, 1, 2), affine=affine)), reference())
    assert np.argwhere(placed.labels == 7).tolist() == [[1, 2, 3], [1, 2, 4], [2, 2, 3], [2, 2, 4]]


def test_one_slice_fits_whatever_thickness_it_states():
    affine = AFFINE.copy()
    affine[:3, 0] *= 3.3
    affine[:3, 3] = reference().to_world(np.array([2, 0, 0]))[0]
    placed = place(Mask(np.ones((1, 5, 6), dtype=int), Grid((1, 5, 6), affine=affine)), reference())
    assert placed.labels.sum(axis=(1, 2)).tolist() == [0, 0, 30, 0]


@pytest.mark.parametrize("shift_mm", [0.02, 0.1])
def test_voxels_between_the_references_are_refused_in_millimetres(shift_mm):
    affine = AFFINE.copy()
    affine[:3, 3] += (shift_mm, 0, 0)
    with pytest.raises(GeometryError, match=f"{shift_mm:g} mm away"):
        place(Mask(np.ones((4, 5, 6), dtype=int), Grid((4, 5, 6), affine=affine)), reference())


def test_foreground_outside_the_reference_is_not_lost_silently():
    affine = AFFINE.copy()
    affine[:3, 3] = reference().to_world(np.array([3, 0, 0]))[0]
    with pytest.raises(GeometryError, match="30 foreground voxels outside"):
        place(Mask(np.ones((2, 5, 6), dtype=int), Grid((2, 5, 6), affine=affine)), reference())


def test_another_spacing_is_refused():
    with pytest.raises(GeometryError, match="leave the reference out"):
        place(Mask(np.ones((4, 5, 6), dtype=int), Grid((4, 5, 6), (3, 1, 1))), Grid((4, 5, 6), (2, 1, 1)))


def test_a_mask_without_spacing_takes_the_references_grid_if_it_has_its_shape():
    grid = reference()
    assert place(Mask(np.ones((4, 5, 6), dtype=int), Grid((4, 5, 6))), grid).grid is grid
    with pytest.raises(GeometryError, match="shape"):
        place(Mask(np.ones((4, 5, 5), dtype=int), Grid((4, 5, 5))), grid)


def overlapping(overlap: str, backwards: bool) -> Mask:
    painter = LabelPainter(Grid((1, 1, 3)), [Segment(5, "a"), Segment(2, "b")], overlap=overlap)
    regions = [np.array([[True, True, False]]), np.array([[False, True, True]])]
    for rank in (1, 0) if backwards else (0, 1):
        painter.paint((0,), regions[rank], rank)
    return painter.finish(Path("x.dcm"))


@pytest.mark.parametrize("backwards", [False, True])
def test_overlap_is_settled_by_the_order_of_the_file_whatever_order_frames_come_in(backwards):
    assert overlapping("first", backwards).labels.tolist() == [[[5, 5, 2]]]
    assert overlapping("last", backwards).labels.tolist() == [[[5, 2, 2]]]


def test_overlap_is_refused_with_the_names():
    with pytest.raises(InputFileError, match=r"5 \('a'\) and 2 \('b'\) overlap in 1 voxels.*--only"):
        overlapping("refuse", False)


def test_segments_are_chosen_by_name_or_number():
    segments = [Segment(1, "Liver"), Segment(4, "Tumor")]
    assert choose_segments(segments, ["liver"], Path("x")) == segments[:1]
    assert choose_segments(segments, ["4"], Path("x")) == segments[1:]
    with pytest.raises(InputFileError, match="spleen"):
        choose_segments(segments, ["spleen", "4"], Path("x"))
