"""Small pictures by hand, and saving them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)


def saved(path: Path, pixels: np.ndarray | Picture.Image, **options: object) -> Path:
    picture = pixels if isinstance(pixels, Picture.Image) else Picture.fromarray(pixels)
    picture.save(path, **options)
    return path
