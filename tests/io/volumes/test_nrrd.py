"""NRRD as pynrrd reads it; SimpleITK judges it in test_axes.py."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import pytest

from medsam.imaging.image import Grid, Image
from medsam.io.formats import read_image, write_image

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
def test_every_type_is_written_as_pynrrd_reads_it(tmp_path: Path, suffix: str, dtype: str) -> None:
    image = Image(VALUES.astype(dtype), Grid((2, 3, 4), (3, 0.7, 0.5)))
    write_image(image, tmp_path / f"a{suffix}")
    values, header = nrrd.read(str(tmp_path / f"a{suffix}"), index_order="C")
    assert values.dtype == dtype
    assert np.array_equal(values, VALUES)
    assert np.allclose(header["space directions"], np.diag([0.5, 0.7, 3]))
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").values, VALUES)


@pytest.mark.parametrize("spacing", [(3, 0.7, 0.5), None])
def test_colours_are_written_as_pynrrd_reads_them(tmp_path: Path, spacing: tuple[float, float, float] | None) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    write_image(Image(rgb, Grid((2, 3, 4), spacing)), tmp_path / "a.nrrd")
    values, header = nrrd.read(str(tmp_path / "a.nrrd"), index_order="C")
    assert np.array_equal(values, rgb)
    assert header["kinds"][0] == "RGB-color"
    assert ("space directions" in header) is (spacing is not None)
    again = read_image(tmp_path / "a.nrrd")
    assert np.array_equal(again.values, rgb)
    assert again.grid.spacing_mm == spacing


def test_a_byte_order_mark_before_the_header_is_passed_over(tmp_path: Path) -> None:
    write_image(Image(VALUES, Grid((2, 3, 4), (3, 0.7, 0.5))), tmp_path / "a.nhdr")
    header = (tmp_path / "a.nhdr").read_bytes()
    (tmp_path / "a.nhdr").write_bytes(b"\xef\xbb\xbf" + header)
    image = read_image(tmp_path / "a.nhdr")
    assert np.array_equal(image.values, VALUES)
    assert image.grid.spacing_mm == pytest.approx((3, 0.7, 0.5))
