"""YCbCr in a TIFF, which tifffile gives as it is stored unless JPEG packs it, to RGB as TIFF 6.0 says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError
from medsam.io.pictures.palettes import iter_bands

if TYPE_CHECKING:
    from tifffile import TiffPage

YCBCR = 6
CODECS_TO_RGB = (6, 7, 33007, 34892)  # JPEG in its forms: the decoder gives RGB
CODECS_WITHOUT_LOSS = (1, 5, 8, 32773, 32946, 34925, 50000)  # none, LZW, deflate, PackBits, LZMA, Zstandard
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue; TIFF 6.0, section 21, YCbCrCoefficients
RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)  # black and white of Y, Cb and Cr; libtiff's default for YCbCr


def is_ycbcr(page: TiffPage) -> bool:
    """Whether the decoded values of a page are luma and chroma, not RGB yet."""
    return page.photometric == YCBCR and page.compression not in CODECS_TO_RGB


def refuse_unknown_ycbcr(page: TiffPage, path: Path) -> None:
    """Refuse YCbCr that cannot be made RGB rightly: thinned chroma, more than 8 bits, or a codec with its own colours.

    Raises:
        InputFileError: as above.
    """
    if not is_ycbcr(page):
        return
    thinned = tuple(_numbers(page, "YCbCrSubSampling", (2, 2)))
    if (
        page.compression not in CODECS_WITHOUT_LOSS
        or page.dtype != np.uint8
        or page.samplesperpixel != 3
        or thinned != (1, 1)
    ):
        raise InputFileError(
            f"{path} is a YCBCR picture, packed by method {int(page.compression)}, chroma thinned {thinned}",
            expected="grey, RGB or palette, or 8-bit YCbCr that is packed as JPEG or whole",
            fix="convert it to RGB, as tiff2rgba does",
        )


def convert_to_rgb(values: NDArray[np.uint8], page: TiffPage) -> NDArray[np.uint8]:
    """Turn (D, H, W, 3) Y, Cb, Cr into RGB.

    Source: TIFF 6.0, sections 20 (ReferenceBlackWhite) and 21 (YCbCr), as libtiff and tiff2rgba do.
    """
    red, green, blue = _numbers(page, "YCbCrCoefficients", LUMA)
    y0, y1, b0, b1, r0, r1 = _numbers(page, "ReferenceBlackWhite", RANGE)
    if min(green, y1 - y0, b1 - b0, r1 - r0) <= 0:
        raise ValueError("coefficients of YCbCr")
    rgb = np.empty_like(values)
    for band, band_rgb in zip(iter_bands(values), iter_bands(rgb), strict=True):
        luma = (band[..., 0] - y0) * (255 / (y1 - y0))
        r = luma + (band[..., 2] - r0) * (127 / (r1 - r0)) * (2 - 2 * red)
        b = luma + (band[..., 1] - b0) * (127 / (b1 - b0)) * (2 - 2 * blue)
        g = (luma - red * r - blue * b) / green
        band_rgb[...] = np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255)
    return rgb


def _numbers(page: TiffPage, tag: str, default: tuple[float, ...]) -> list[float]:
    """The values of a tag; fractions come as pairs."""
    found = page.tags.get(tag)
    if found is None:
        return list(default)
    flat = np.asarray(found.value, dtype=np.float64).ravel()
    numbers = flat if len(flat) == len(default) else flat.reshape(len(default), 2)[:, 0] / flat.reshape(-1, 2)[:, 1]
    return [float(number) for number in numbers]
