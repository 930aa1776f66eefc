"""Predictors for the tests: the published LiteMedSAM, and a runtime whose answers can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from bright import bright_predictor

from medsam.errors import ModelUnavailableError
from medsam.inference.predictor import Predictor, load_predictor


@pytest.fixture
def bright() -> Predictor:
    return bright_predictor()


@pytest.fixture(scope="session")
def lite() -> Predictor:
    """The default model with its published weights; skipped where they are not here and cannot be fetched."""
    try:
        return load_predictor("lite-medsam", device="cpu")
    except ModelUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def disc() -> tuple[np.ndarray, np.ndarray]:
    """A bright disc of radius 40 around x 160, y 100 on a dim noisy slice of 200 x 300, and its mask."""
    y, x = np.mgrid[:200, :300]
    mask = (x - 160) ** 2 + (y - 100) ** 2 <= 40**2
    grey = np.random.default_rng(0).normal(60, 8, mask.shape) + 120 * mask
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), mask


@pytest.fixture(scope="session")
def disc_embedding(lite: Predictor, disc: tuple[np.ndarray, np.ndarray]):
    return lite.embed(disc[0])


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
