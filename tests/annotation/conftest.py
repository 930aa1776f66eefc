"""A predictor whose answers can be worked out by hand."""

from __future__ import annotations

import pytest
from bright import bright_predictor

from medsam.inference.predictor import Predictor


@pytest.fixture
def bright() -> Predictor:
    return bright_predictor()
