"""A real scan with an expert's mask for the tests of viewers' clients; a phantom where the data is not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

import medsam
from medsam.errors import ModelUnavailableError
from medsam.imaging.image import Image
from medsam.inference.predictor import Predictor

DATA = Path(os.environ.get("MEDSAM_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared/data"))


@dataclass(frozen=True)
class ViewedScan:
    """A scan, where it lies, and a box on one of its slices."""

    path: Path
    image: Image
    expert: np.ndarray
    slice: int
    box: tuple[int, int, int, int]
    beside: int


def viewed_scan(folder: Path) -> ViewedScan:
    """Left atrium of a public MR scan; 16 of its slices."""
    found = sorted((DATA / "volumes/heart_left_atrium").glob("*_image.nii.gz"))
    if found:
        image = medsam.read_image(found[0], modality="MR")
        expert = medsam.read_mask(found[0].with_name(found[0].name.replace("_image", "_label"))).labels > 0
        values = image.values
    else:
        z, y, x = np.ogrid[:40, :120, :140]
        expert = ((z - 20) / 12) ** 2 + ((y - 60) / 25) ** 2 + ((x - 70) / 30) ** 2 < 1
        values = (200 * expert + np.random.default_rng(3).normal(60, 12, expert.shape)).clip(0).astype(np.int16)
    k = int(np.argmax(expert.sum(axis=(1, 2))))
    first = max(0, k - 8)
    values, expert, k = values[first : first + 16], expert[first : first + 16], k - first
    path = folder / "viewed.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(values).T, np.diag([-1.25, -1.25, 2.5, 1])), path)
    rows, columns = np.flatnonzero(expert[k].any(axis=1)), np.flatnonzero(expert[k].any(axis=0))
    box = (columns[0] - 4, rows[0] - 4, columns[-1] + 4, rows[-1] + 4)
    image = medsam.read_image(path, modality="MR")
    return ViewedScan(path, image, expert, k, tuple(int(v) for v in box), k + 4)


def default_predictor() -> Predictor:
    """The real default model."""
    try:
        return medsam.load_predictor(device="cpu")
    except ModelUnavailableError as error:
        pytest.skip(str(error))
