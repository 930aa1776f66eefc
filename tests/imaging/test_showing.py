"""Figures for notebooks: the slice that was asked for, in its proportions, labels in their colours."""

from __future__ import annotations

import numpy as np
import pytest

import medsam
from medsam.errors import GeometryError, PromptError

GRID = medsam.Grid((2, 3, 4), spacing_mm=(5.0, 0.5, 0.25))
IMAGE = medsam.Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), GRID)
LABELS = np.zeros((2, 3, 4), np.uint8)
LABELS[0, 1, 2] = 3
MASK = medsam.Mask(LABELS, GRID, colors={3: (255, 0, 51)})


def test_an_image_shows_the_middle_slice_in_its_proportions() -> None:
    (axes,) = IMAGE.show().axes
    assert np.array_equal(axes.images[0].get_array(), IMAGE.values[1])
    assert axes.get_aspect() == 2
    assert axes.get_title() == "slice 1 of 2"
    assert np.array_equal(IMAGE.show(0).axes[0].images[0].get_array(), IMAGE.values[0])


def test_another_plane_is_another_axis() -> None:
    (axes,) = IMAGE.show(1, plane="sagittal").axes
    assert np.array_equal(axes.images[0].get_array(), IMAGE.values[:, :, 1])
    assert axes.get_aspect() == 10


def test_a_mask_shows_the_slice_with_most_foreground_in_its_colours() -> None:
    shown = MASK.show().axes[0].images[0].get_array()
    assert shown[1, 2].tolist() == [1, 0, 0.2, 1]
    assert shown[0, 0].tolist() == [0, 0, 0, 1]


def test_a_mask_lies_over_its_image() -> None:
    below, above = IMAGE.show(0, mask=MASK).axes[0].images
    assert np.array_equal(below.get_array(), IMAGE.values[0])
    assert above.get_array()[0, 0, 3] == 0 < above.get_array()[1, 2, 3] < 1


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(PromptError, match="0 to 1"):
        IMAGE.show(2)
    with pytest.raises(GeometryError, match="one of axial"):
        IMAGE.show(plane="frontal")
    with pytest.raises(GeometryError, match="grid of the image"):
        IMAGE.show(mask=medsam.Mask(LABELS, medsam.Grid((2, 3, 4))))
