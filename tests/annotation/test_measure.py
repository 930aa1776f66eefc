"""Volumes and diameters of lesions that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.annotation.measure import Intensity, measure, measure_intensity
from medsam.errors import GeometryError, PromptError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.modality import Modality


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


@pytest.mark.parametrize("step", [2.5, -2.5])
def test_position_is_that_of_the_slice_whichever_way_slices_are_stored(step):
    affine = np.array([[0.0, 0, 0.5, 10], [0, 0.5, 0, 20], [step, 0, 0, 30], [0, 0, 0, 1]])
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[3, 2:5, 2:5] = 1
    mask = Mask(labels, Grid(labels.shape, affine=affine))
    assert [(row.slice, row.position_mm) for row in measure(mask)] == [(3, 30 + 3 * step)]
    [coronal] = measure(mask, plane="coronal")
    assert coronal.position_mm == pytest.approx(20 + 0.5 * coronal.slice)


def test_values_inside_an_object_are_hounsfield_units_in_a_ct_alone():
    grid = Grid((1, 2, 3), spacing_mm=(1, 1, 1))
    mask = Mask(np.array([[[1, 1, 2], [0, 0, 2]]]), grid)
    values = np.array([[[10, 30, -5], [999, 999, -5]]], np.int16)
    found = measure_intensity(Image(values, grid, Modality.CT), mask)
    assert found == {1: Intensity(20, 10, "HU"), 2: Intensity(-5, 0, "HU")}
    assert measure_intensity(Image(values, grid, Modality.MR), mask)[1] == Intensity(20, 10, None)
    assert measure_intensity(Image(abs(values).clip(0, 255).astype(np.uint8), grid, Modality.CT), mask)[1].unit is None
    assert measure_intensity(Image(np.zeros((1, 2, 3, 3), np.uint8), grid), mask) == {}
