"""The published implementation that metrics and surfaces are held against."""

from __future__ import annotations

import sys
import types

import pytest
import scipy.ndimage


@pytest.fixture(scope="module")
def oracle():
    """The published package, which still asks for names that NumPy 2 and SciPy 1.15 dropped."""
    pytest.importorskip("surface_distance")
    from surface_distance import metrics

    filters = types.SimpleNamespace(correlate=scipy.ndimage.correlate)
    morphology = types.SimpleNamespace(distance_transform_edt=scipy.ndimage.distance_transform_edt)
    metrics.ndimage = types.SimpleNamespace(filters=filters, morphology=morphology)
    return sys.modules["surface_distance.metrics"]
