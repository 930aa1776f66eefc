"""Diameters by hand, and against every pair of corners."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medsam.annotation.axes import axes_of
from medsam.annotation.measure import measure
from medsam.errors import GeometryError, PromptError
from medsam.imaging.image import Grid, Mask


def test_rectangle_of_3_by_4_mm_has_a_diagonal_of_5():
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:7] = True
    axes = axes_of(mask, (1.0, 1.0), corners=True)
    assert axes.long == pytest.approx(5)
    assert axes.short == pytest.approx(3.75)  # from a corner: 3 down, 2.25 across


def test_centres_of_a_row_and_of_one_pixel():
    mask = np.zeros((5, 9), bool)
    mask[2, 1:8] = True
    axes = axes_of(mask, (2.0, 0.5), corners=False)
    assert (axes.long, axes.short) == (3.0, 0.0)
    assert sorted(axes.long_xy) == [(1, 2), (7, 2)]
    one = np.zeros((5, 5), bool)
    one[3, 4] = True
    axes = axes_of(one, (1, 1), corners=False)
    assert axes.long == axes.short == 0
    assert axes.long_xy == ((4, 3), (4, 3))


@pytest.mark.parametrize("seed", range(5))
def test_long_axis_equals_the_largest_distance_of_any_two_pixels(seed):
    mask = gaussian_filter(np.random.default_rng(seed).normal(size=(20, 24)), 2) > 0.05
    spacing = (0.7, 1.3)
    points = np.argwhere(mask) * spacing
    expected = max(np.linalg.norm(a - b) for a, b in combinations(points, 2))
    axes = axes_of(mask, spacing, corners=False)
    assert axes.long == pytest.approx(expected)
    along = (np.array(axes.long_xy[1]) - axes.long_xy[0]) * (1.3, 0.7)
    across = (np.array(axes.short_xy[1]) - axes.short_xy[0]) * (1.3, 0.7)
    assert abs(along @ across) < 1e-6
    assert axes.short == pytest.approx(np.linalg.norm(across))
    assert axes.short <= axes.long


def test_disc_is_as_wide_as_long():
    y, x = np.mgrid[:101, :101]
    axes = axes_of((y - 50) ** 2 + (x - 50) ** 2 <= 40.2**2, (0.5, 0.5), corners=True)
    assert axes.long == pytest.approx(40.5, abs=0.4)
    assert axes.short == pytest.approx(40.5, abs=0.6)


def lesions():
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1, 2:6, 3:7] = 1
    labels[2, 2:6, 3:13] = 1
    labels[3, 15:17, 15:17] = 1
    labels[0, 10, 10] = 5
    return labels


def test_volume_and_diameters_of_every_lesion():
    mask = Mask(lesions(), Grid((4, 20, 20), spacing_mm=(5, 0.5, 0.5)), names={5: "node"})
    whole = measure(mask)
    assert [(m.label, m.name, m.component, m.voxels) for m in whole] == [(1, None, 0, 60), (5, "node", 0, 1)]
    assert whole[0].volume_mm3 == 60 * 1.25
    assert whole[0].volume_ml == 0.075
    assert whole[0].slice == 2
    assert whole[0].long_axis_mm == pytest.approx(np.hypot(5, 2))
    parts = measure(mask, components=True, min_voxels=2)
    assert [(m.component, m.voxels, m.slice) for m in parts] == [(1, 56, 2), (2, 4, 3)]
    assert parts[1].long_axis_xy[0][0] >= 14.5


def test_diameters_lie_in_the_axial_plane_of_a_sagittal_scan():
    labels = np.moveaxis(lesions(), 0, 2)  # array axis 2 is world z
    affine = np.diag([0.5, 0.5, 5, 1])
    turned = measure(Mask(labels, Grid(labels.shape, affine=affine)))
    upright = measure(Mask(lesions(), Grid((4, 20, 20), spacing_mm=(5, 0.5, 0.5))))
    for one, other in zip(turned, upright, strict=True):
        assert one.long_axis_mm == pytest.approx(other.long_axis_mm)
        assert one.volume_mm3 == pytest.approx(other.volume_mm3)
        assert one.slice == other.slice


def test_mask_without_spacing_or_without_labels_is_refused():
    with pytest.raises(GeometryError, match="--spacing"):
        measure(Mask(np.ones((1, 3, 3), np.uint8), Grid((1, 3, 3))))
    with pytest.raises(PromptError, match="empty"):
        measure(Mask(np.zeros((1, 3, 3), np.uint8), Grid((1, 3, 3), spacing_mm=(1, 1, 1))))
    with pytest.raises(PromptError, match="empty"):
        axes_of(np.zeros((3, 3), bool), (1, 1), corners=True)


@pytest.mark.parametrize("step", [2.5, -2.5])
def test_position_is_that_of_the_slice_whichever_way_slices_are_stored(step):
    affine = np.array([[0.0, 0, 0.5, 10], [0, 0.5, 0, 20], [step, 0, 0, 30], [0, 0, 0, 1]])
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[3, 2:5, 2:5] = 1
    mask = Mask(labels, Grid(labels.shape, affine=affine))
    assert [(row.slice, row.position_mm) for row in measure(mask)] == [(3, 30 + 3 * step)]
    [coronal] = measure(mask, plane="coronal")
    assert coronal.position_mm == pytest.approx(20 + 0.5 * coronal.slice)
