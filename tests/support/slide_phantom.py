"""Synthetic whole slides on disk: pyramidal tiled TIFF whose every pixel is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile


def scene(height: int, width: int) -> np.ndarray:
    """Red counts columns, green counts rows, blue counts blocks of 64; smooth, so that it may be shrunk."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 251, y % 251, (x // 64 + y // 64) % 200], axis=2).astype(np.uint8)


def write_slide(path: Path, picture: np.ndarray, levels: int = 3, mpp: float = 0.25) -> Path:
    """A generic pyramidal tiled TIFF: each level half of the one before it, its picture every second pixel."""
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        per_cm = (1e4 / mpp, 1e4 / mpp)
        tif.write(picture, subifds=levels - 1, resolution=per_cm, resolutionunit="CENTIMETER", **options)
        for level in range(1, levels):
            small = picture[:: 2**level, :: 2**level]
            tif.write(small, subfiletype=1, **options)
    return path
