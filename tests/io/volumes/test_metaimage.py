"""MetaImage: header fields as other programs write them; tests against SimpleITK are in test_axes.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid, Image
from medsam.io.formats import read_image, write_image

HEADER = "NDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\n{}ElementDataFile = LOCAL\n"


def save(path: Path, fields: str = "", pixels: bytes = bytes(range(24))) -> Path:
    path.write_bytes(HEADER.format(fields).encode() + pixels)
    return path


@pytest.mark.parametrize("slope", ["1", "1.0", "1.000", "1e0"])
def test_a_slope_of_one_is_none(tmp_path: Path, slope: str) -> None:
    fields = f"ElementToIntensityFunctionSlope = {slope}\nElementToIntensityFunctionOffset = 0.0\n"
    assert read_image(save(tmp_path / "a.mha", fields)).values.ravel().tolist() == list(range(24))


@pytest.mark.parametrize("slope", ["2", "nan", "one", "1.0 1.0"])
def test_other_slopes_are_refused(tmp_path: Path, slope: str) -> None:
    with pytest.raises(InputFileError, match="scales its values"):
        read_image(save(tmp_path / "a.mha", f"ElementToIntensityFunctionSlope = {slope}\n"))


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_an_unknown_spacing_is_not_written(tmp_path: Path, suffix: str) -> None:
    image = Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), Grid((2, 3, 4)))
    write_image(image, tmp_path / f"a{suffix}")
    header = (tmp_path / f"a{suffix}").read_bytes().split(b"ElementDataFile")[0]
    assert b"ElementSpacing" not in header
    assert b"Offset" not in header
    assert read_image(tmp_path / f"a{suffix}").grid.spacing_mm is None
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"a{suffix}"))
    assert np.array_equal(theirs, image.values)


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_colours_are_written_as_simpleitk_reads_them(tmp_path: Path, suffix: str) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype=np.uint8)
    write_image(Image(rgb, Grid((2, 3, 4), (3, 2, 1))), tmp_path / f"a{suffix}")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"a{suffix}")), rgb)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").values, rgb)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("ElementSpacing = 1 1\n", "ElementSpacing"),
        ("ElementSpacing = 1 1 0\n", "independent axes"),
        ("TransformMatrix = 1 0 0 1 0 0 0 0 1\n", "independent axes"),
        ("Offset = 1 nan 1\n", "Offset"),
        ("ElementSpacing = 1 1 1\nDistanceUnits = ell\n", "ell"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, fields: str, words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        read_image(save(tmp_path / "a.mha", fields))


@pytest.mark.parametrize(
    ("fields", "pixels", "words"),
    [
        ("BinaryData = False\n", bytes(24), "as text"),
        ("CompressedData = True\n", b"x" * 24, "damaged"),
        ("HeaderSize = x\n", bytes(24), "whole number"),
        ("ElementNumberOfChannels = 2\n", bytes(48), "2 values per voxel"),
        ("", bytes(23), "declares 24 bytes"),
    ],
)
def test_pixels_that_are_not_there_are_refused(tmp_path: Path, fields: str, pixels: bytes, words: str) -> None:
    with pytest.raises(InputFileError, match=words):
        read_image(save(tmp_path / "a.mha", fields, pixels))
