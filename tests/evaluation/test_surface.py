"""Surface elements by hand and against the published table."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.evaluation.surface import _areas, find_surface


def test_contour_of_one_pixel_is_four_diagonals():
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    surface = find_surface(mask, (3.0, 4.0))
    assert surface.cells_NK.shape == (4, 2)
    assert surface.sizes_N.tolist() == [2.5] * 4  # half of the 3-4-5 diagonal each


def test_surface_of_one_voxel_is_an_octahedron():
    mask = np.ones((1, 1, 1), bool)
    total = find_surface(mask, (1.0, 1.0, 1.0)).sizes_N.sum()
    assert total == pytest.approx(np.sqrt(3))  # edge sqrt(1/2): area 2 sqrt(3) / 2


def test_an_empty_mask_has_no_surface_and_a_border_counts():
    assert len(find_surface(np.zeros((3, 4), bool), (1.0, 1.0)).sizes_N) == 0
    assert len(find_surface(np.zeros((2, 3, 4), bool), (1.0, 1.0, 1.0)).sizes_N) == 0
    full = find_surface(np.ones((2, 3), bool), (1.0, 1.0))  # what is outside of the array is background
    assert len(full.sizes_N) == 10
    assert full.sizes_N.sum() == pytest.approx(6 + 4 * np.sqrt(0.5))


def test_the_area_of_an_anisotropic_plate():
    plate = np.zeros((3, 12, 12), bool)
    plate[1, 1:-1, 1:-1] = True
    flat = find_surface(plate, (1.0, 2.0, 3.0))
    inner = (flat.cells_NK[:, 1:] > 1).all(axis=1) & (flat.cells_NK[:, 1:] < 11).all(axis=1)
    assert flat.sizes_N[inner].tolist() == [6.0] * (2 * 81)  # two sides of 9 x 9 cells of 2 mm x 3 mm


def test_every_cube_has_the_published_area(oracle):
    from surface_distance import lookup_tables

    spacing = (5.0, 0.3, 0.7)
    published = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    for code, area in enumerate(_areas(spacing)):
        corners = np.array([(code >> bit) & 1 for bit in range(8)]).reshape(2, 2, 2)
        assert area == pytest.approx(published[(corners * kernel).sum()], abs=1e-9)
