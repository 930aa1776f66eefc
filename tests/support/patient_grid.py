"""A small grid, places in it, and files of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medsam.imaging.image import Grid

GRID = Grid((8, 40, 50), affine=np.array([[0, 0, -0.8, 50], [0, -0.8, 0, 70], [-5, 0, 0, 300], [0, 0, 0, 1.0]]))


def mm(*index: float) -> list[float]:
    return [float(v) for v in GRID.to_world(np.array([index]))[0]]


def save(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
