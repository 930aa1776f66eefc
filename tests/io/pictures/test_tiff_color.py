"""YCbCr in TIFF: RGB by the formulas of TIFF 6.0, or a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from small_pictures import COLOR

import medsam
from medsam.errors import InputFileError


def write_ycbcr(path: Path, rgb: np.ndarray, *, thinned: tuple[int, int] = (1, 1), **options: object) -> Path:
    values = np.asarray(Picture.fromarray(rgb).convert("YCbCr"))
    tags = [(530, 3, 2, thinned, True), (532, 5, 6, (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1), True)]
    tifffile.imwrite(path, values, photometric="ycbcr", subsampling=thinned, extratags=tags[1:], **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib", "packbits", "lzw"])
def test_whole_chroma_becomes_rgb(tmp_path: Path, compression: str | None) -> None:
    path = write_ycbcr(tmp_path / "a.tif", COLOR, compression=compression)
    values = medsam.read_image(path).values[0]
    assert np.abs(values.astype(int) - COLOR).max() <= 2  # YCbCr of 8 bits cannot say it closer


def test_pure_colours_by_hand(tmp_path: Path) -> None:
    red = np.full((8, 8, 3), (76, 85, 255), np.uint8)  # Y, Cb, Cr of 254 0 0
    tifffile.imwrite(tmp_path / "a.tif", red, photometric="ycbcr", subsampling=(1, 1))
    assert np.abs(medsam.read_image(tmp_path / "a.tif").values[0, 0, 0].astype(int) - (254, 0, 0)).max() <= 1


def test_thinned_chroma_without_jpeg_is_refused(tmp_path: Path) -> None:
    path = write_ycbcr(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["YCbCrSubSampling"].overwrite((2, 2))
    with pytest.raises(InputFileError, match="chroma thinned"):
        medsam.read_image(path)


def test_jpeg_in_a_tiff_is_rgb_already(tmp_path: Path) -> None:
    rgb = np.full((16, 16, 3), (200, 30, 40), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", compression="jpeg")
    assert np.abs(medsam.read_image(tmp_path / "a.tif").values[0].astype(int) - (200, 30, 40)).max() <= 4
