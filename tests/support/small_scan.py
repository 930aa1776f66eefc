"""A small scan on disk: a bright box in three slices, with a spacing of its own."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])


def scan(path: Path, value: int = 100) -> Path:
    values = np.zeros((3, 8, 10), np.int16)
    values[1, 2:5, 3:7] = value
    nibabel.save(nibabel.Nifti1Image(values.T, AFFINE), path)
    return path
