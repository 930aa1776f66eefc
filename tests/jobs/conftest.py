"""What jobs are given: a small picture, and a small DICOM series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import Phantom, write_series
from PIL import Image as Picture


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "eye.png"
    Picture.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(path)
    return path


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "ct", Phantom(rows=16, columns=16))
    return tmp_path / "ct"
