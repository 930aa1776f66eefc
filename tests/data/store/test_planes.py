"""The arrays of a store are plain zarr: zarr-python reads them, and would have written the same chunks."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from medsam.data.store.planes import Planes, write_planes
from medsam.errors import DataError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_zarr_reads_what_is_written(tmp_path, dtype, channels):
    rng = np.random.default_rng(0)
    planes = [rng.integers(0, 250, (n + 40, 60, *channels)).astype(dtype) for n in range(5)]
    write_planes(tmp_path / "a", planes, (64, 64))
    array, ours = zarr.open_array(tmp_path / "a", mode="r"), Planes(tmp_path / "a")
    assert array.shape == (5, 64, 64, *channels)
    for n, plane in enumerate(planes):
        np.testing.assert_array_equal(array[n][: n + 40, :60], plane)
        np.testing.assert_array_equal(ours[n], array[n])
        assert not ours[n][n + 40 :].any()


def test_what_zarr_writes_is_read(tmp_path):
    write_planes(tmp_path / "a", [np.zeros((64, 64), np.uint8)] * 3, (64, 64))
    values = np.random.default_rng(0).integers(1, 9, (3, 64, 64), dtype=np.uint8)
    zarr.open_array(tmp_path / "a", mode="r+")[:] = values
    assert all((Planes(tmp_path / "a")[n] == values[n]).all() for n in range(3))


def test_damage_is_told(tmp_path):
    write_planes(tmp_path / "a", [np.full((64, 64), n, np.uint8) for n in range(3)], (64, 64))
    file = tmp_path / "a" / "c" / "0" / "0" / "0"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="checksum"):
        Planes(tmp_path / "a")
    file.write_bytes(b"\0" * 8 + whole[8:])
    with pytest.raises(DataError, match="plane 0"):
        Planes(tmp_path / "a")[0]
    file.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        Planes(tmp_path / "a")


@pytest.mark.parametrize("shape", [(1, 1), (10, 20), (100, 200), (300, 900), (64, 64, 3)])
@pytest.mark.parametrize("content", ["zeros", "noise"])
def test_planes_of_every_size_say_how_large_they_are(tmp_path, shape, content):
    rng = np.random.default_rng(0)
    plane = np.zeros(shape, np.uint8) if content == "zeros" else rng.integers(0, 256, shape, dtype=np.uint8)
    write_planes(tmp_path / "a", [plane], (shape[0], shape[1]))
    np.testing.assert_array_equal(Planes(tmp_path / "a")[0], plane)
