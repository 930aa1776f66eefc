"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with masks beside the checkout, or MEDSAM_SHARED_DATA; tests that need it are skipped without."""
    folder = Path(os.environ.get("MEDSAM_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "slices").is_dir():
        pytest.skip(f"no real images at {folder}")
    return folder
