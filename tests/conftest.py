"""Fixtures shared by all tests."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images with masks beside the checkout, or MEDSAM_SHARED_DATA; tests that need it are skipped without."""
    folder = Path(os.environ.get("MEDSAM_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "slices").is_dir():
        pytest.skip(f"no real images at {folder}")
    return folder


@pytest.fixture(autouse=True)
def _same_numbers_each_time() -> None:
    """Seed what draws at random, so that a test that builds a network of random weights sees the same ones in every run."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- the global generator is what a careless test would use
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _memory_given_back() -> Iterator[None]:
    """Return what a module's models took; else a worker stays so large that the kernel kills it when memory is short."""
    yield
    gc.collect()
    if sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):  # glibc
        ctypes.CDLL(None).malloc_trim(0)
