"""Metrics against hand-made values, and NSD and Hausdorff against the published surface-distance package."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from medsam.errors import GeometryError
from medsam.evaluation.metrics import (
    dice,
    hausdorff95,
    iou,
    measure_surfaces,
    normalized_surface_distance,
    precision,
    recall,
    volume_error,
)
from medsam.imaging.image import Grid, Mask


def blob(shape, seed, smooth=2.0):
    rng = np.random.default_rng(seed)
    return scipy.ndimage.gaussian_filter(rng.normal(size=shape), smooth) > 0


def test_dice_by_hand():
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[0, :3] = True
    b[0, 1:] = True
    assert dice(a, b) == 2 * 2 / 6


def test_overlaps_and_the_volume_error_by_hand():
    found, expert = np.array([[1, 1, 1, 0, 0, 0]]), np.array([[0, 1, 1, 1, 1, 0]])
    assert iou(found, expert) == 2 / 5
    assert precision(found, expert) == 2 / 3
    assert recall(found, expert) == 2 / 4
    assert volume_error(found, expert) == -1 / 4
    assert volume_error(expert, found) == 1 / 3
    assert iou(found, expert) == pytest.approx(dice(found, expert) / (2 - dice(found, expert)))


def test_overlaps_of_one_pixel():
    one = np.ones((1, 1), np.uint8)
    assert (iou(one, one), precision(one, one), recall(one, one), volume_error(one, one)) == (1, 1, 1, 0)


def test_overlaps_of_empty_masks_are_as_stated():
    empty, full = np.zeros((3, 5, 5), bool), np.ones((3, 5, 5), bool)
    for metric in (iou, precision, recall):
        assert metric(empty, empty) == 1
        assert metric(empty, full) == metric(full, empty) == 0
    assert volume_error(empty, empty) == 0
    assert volume_error(empty, full) == -1
    assert volume_error(full, empty) == float("inf")


def test_overlaps_do_not_depend_on_anisotropic_voxels_and_refuse_other_shapes():
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[:, 1:] = 1
    other = np.roll(labels, 1, axis=1)
    grid = Grid((2, 3, 4), spacing_mm=(5, 0.5, 1))
    for metric in (iou, precision, recall, volume_error):
        assert metric(Mask(labels, grid), Mask(other, grid)) == metric(labels, other)
        with pytest.raises(GeometryError, match="same shape"):
            metric(labels, labels[:1])


def test_dice_of_one_label_and_of_all_foreground():
    a, b = np.array([[1, 1, 2, 2]]), np.array([[1, 2, 2, 0]])
    assert dice(a, b, label=1) == 2 * 1 / 3
    assert dice(a, b, label=2) == 2 * 1 / 4
    assert dice(a, b) == 2 * 3 / 7


def test_empty_masks_agree_and_one_empty_mask_agrees_with_nothing():
    empty, full = np.zeros((3, 5, 5), bool), np.ones((3, 5, 5), bool)
    assert (dice(empty, empty), normalized_surface_distance(empty, empty), hausdorff95(empty, empty)) == (1, 1, 0)
    assert (dice(empty, full), normalized_surface_distance(full, empty), hausdorff95(empty, full)) == (
        0,
        0,
        float("inf"),
    )


def test_nsd_of_shifted_squares_by_hand():
    a, b = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    a[5:10, 5:10] = True
    b[5:10, 8:13] = True  # three pixels to the right
    # Each contour: 16 elements of length 1 and 4 corners of sqrt(1/2). Both share 2 and 1 of them at the top, and the
    # same at the bottom.
    shared, total = 2 * (2 + np.sqrt(0.5)), 16 + 4 * np.sqrt(0.5)
    assert normalized_surface_distance(a, b, tolerance_mm=0) == pytest.approx(shared / total)
    assert normalized_surface_distance(a, b, tolerance_mm=3) == 1


def test_tolerance_is_in_mm_and_includes_its_bound():
    a, b = np.zeros((1, 12, 12), bool), np.zeros((1, 12, 12), bool)
    a[0, 2:8, 2:8] = True
    b[0, 2:8, 4:10] = True  # two pixels: 0.8 mm
    assert normalized_surface_distance(a, b, tolerance_mm=0.8, spacing_mm=(5, 0.4, 0.4)) == 1
    assert normalized_surface_distance(a, b, tolerance_mm=0.79, spacing_mm=(5, 0.4, 0.4)) < 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3, 0.7), (2.5, 0.4)])
@pytest.mark.parametrize("seed", range(4))
def test_2d_values_equal_the_published_package(oracle, spacing, seed):
    a, b = blob((64, 80), seed), blob((64, 80), seed + 100)
    distances = oracle.compute_surface_distances(a, b, spacing)
    for tolerance in (0.5, 1.0, 2.0):
        expected = oracle.compute_surface_dice_at_tolerance(distances, tolerance)
        assert normalized_surface_distance(a, b, tolerance_mm=tolerance, spacing_mm=spacing) == pytest.approx(
            expected, abs=1e-6
        )
    assert hausdorff95(a, b, spacing_mm=spacing) == pytest.approx(
        oracle.compute_robust_hausdorff(distances, 95), abs=1e-6
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.3, 0.7), (0.5, 2.0, 1.1)])
@pytest.mark.parametrize("smooth", [0.0, 0.6, 2.0])
def test_3d_values_equal_the_published_package(oracle, spacing, smooth):
    a, b = blob((12, 30, 25), 1, smooth), blob((12, 30, 25), 2, smooth)  # smooth 0 visits every one of the 256 cubes
    distances = oracle.compute_surface_distances(a, b, spacing)
    for tolerance in (0.5, 1.0, 2.0):
        expected = oracle.compute_surface_dice_at_tolerance(distances, tolerance)
        assert normalized_surface_distance(a, b, tolerance_mm=tolerance, spacing_mm=spacing) == pytest.approx(
            expected, abs=1e-6
        )
    assert hausdorff95(a, b, spacing_mm=spacing) == pytest.approx(
        oracle.compute_robust_hausdorff(distances, 95), abs=1e-6
    )


def test_masks_bring_their_spacing_and_a_slice_is_measured_in_2d():
    a, b = np.zeros((1, 12, 12), np.uint8), np.zeros((1, 12, 12), np.uint8)
    a[0, 2:8, 2:8] = 3
    b[0, 2:8, 5:11] = 3
    coarse, fine = Grid((1, 12, 12), spacing_mm=(5, 1, 1)), Grid((1, 12, 12), spacing_mm=(5, 0.5, 0.5))
    flat = normalized_surface_distance(a[0], b[0], tolerance_mm=2)
    assert normalized_surface_distance(Mask(a, coarse), Mask(b, coarse), label=3) == flat < 1
    assert normalized_surface_distance(Mask(a, fine), Mask(b, fine), label=3) == 1


def test_masks_on_other_grids_are_refused():
    labels = np.ones((2, 3, 3), np.uint8)
    here, there = Grid((2, 3, 3), spacing_mm=(1, 1, 1)), Grid((2, 3, 3), spacing_mm=(1, 1, 2))
    with pytest.raises(GeometryError, match="steps of the reference"):
        dice(Mask(labels, here), Mask(labels, there))
    with pytest.raises(GeometryError, match="same shape"):
        dice(labels, labels[:, :2])


def test_the_same_voxels_in_another_order_are_the_same_mask():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1:3, 2:4] = 1
    there = np.diag([1.0, 1, 1, 1])
    there[:3, :3] = [[0, 0, 1], [0, 1, 0], [2, 0, 0]]
    flipped = there @ np.array([[-1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    here, turned = Mask(labels, Grid((3, 4, 5), affine=there)), Mask(labels[::-1], Grid((3, 4, 5), affine=flipped))
    assert dice(here, turned) == dice(turned, here) == normalized_surface_distance(here, turned, tolerance_mm=0) == 1
    moved = Mask(np.roll(labels, 1, axis=2)[::-1], turned.grid)
    assert dice(here, moved) == 0.5


@pytest.mark.parametrize(
    "bad", [{"spacing_mm": (0, 1)}, {"spacing_mm": (1,)}, {"tolerance_mm": float("nan")}, {"tolerance_mm": -1}]
)
def test_distances_that_are_none_are_refused(bad):
    with pytest.raises(GeometryError):
        normalized_surface_distance(np.ones((4, 4)), np.ones((4, 4)), **bad)


def test_legacy_reverses_the_axes_and_drops_low_dice(oracle):
    a, b = blob((12, 30, 25), 1), blob((12, 30, 25), 2)
    swapped = oracle.compute_surface_dice_at_tolerance(oracle.compute_surface_distances(a, b, (0.7, 0.7, 5.0)), 2)
    right = normalized_surface_distance(a, b, spacing_mm=(5.0, 0.7, 0.7))
    legacy = normalized_surface_distance(a, b, spacing_mm=(5.0, 0.7, 0.7), legacy=True)
    assert legacy == pytest.approx(swapped, abs=1e-6)
    assert abs(legacy - right) > 0.01
    thin = np.zeros((1, 9, 9), bool)
    thin[0, 2] = True
    assert normalized_surface_distance(thin, np.roll(thin, 1, 1)) == 1
    assert normalized_surface_distance(thin, np.roll(thin, 1, 1), legacy=True) == 0


def test_a_slice_equals_a_volume_of_one_slice_and_a_mask_without_a_place():
    square = np.zeros((4, 6), dtype=np.uint8)
    square[1:3, 1:5] = 1
    placed = Mask(square[None], Grid((1, 4, 6), spacing_mm=(5, 0.5, 0.5)))
    loose = Mask(square[None], Grid((1, 4, 6)))
    for one, other in ((square, square[None]), (placed, square), (placed, loose), (loose, placed)):
        assert dice(one, other) == 1
        assert normalized_surface_distance(one, other) == 1


def test_surfaces_of_lines_and_four_axes_are_refused():
    for shape in ((4,), (2, 2, 2, 2)):
        with pytest.raises(GeometryError, match="shape"):
            normalized_surface_distance(np.ones(shape), np.ones(shape))


@pytest.mark.parametrize("seed", range(4))
def test_both_distances_at_once_are_those_one_by_one(seed):
    a, b = blob((9, 20, 24), seed), blob((9, 20, 24), seed + 9)
    assert measure_surfaces(a, b) == (normalized_surface_distance(a, b), hausdorff95(a, b))
    none = np.zeros_like(a)
    assert measure_surfaces(a, none) == (0.0, float("inf"))
    assert measure_surfaces(none, none) == (1.0, 0.0)
    assert measure_surfaces(a, b, legacy=True)[0] == normalized_surface_distance(a, b, legacy=True)
