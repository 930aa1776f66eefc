"""A gapped volume on a regular grid: what is interpolated and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import Phantom, dataset, write_series

from medsam import read_image
from medsam.errors import GeometryError


def test_filled_gap_is_the_mean_of_its_neighbours_and_the_outside_the_lowest_value(tmp_path):
    phantom = Phantom(depth=5, missing=(2,), tilt_degrees=10)
    write_series(tmp_path, phantom, lambda k: np.full((7, 9), 100 + 10 * k, np.uint16))
    image = read_image(tmp_path, geometry="resample")
    shift_px = np.tan(np.radians(10)) * 12 / 0.75
    assert image.values.shape == (5, 7 + int(np.ceil(shift_px)), 9)
    assert image.values.dtype == np.int16
    assert image.values[2, 4, 4] == 120
    assert image.values[0, -1, 4] == 100
    assert image.values[4, 0, 4] == 100


def test_absurd_extent_is_not_resampled(tmp_path):
    write_series(tmp_path, Phantom())
    far = dataset(Phantom(depth=100_000), 90_000)
    far.save_as(tmp_path / "far", enforce_file_format=True)
    with pytest.raises(GeometryError, match="would become"):
        read_image(tmp_path, geometry="resample")
