"""The peak of a piece of work, held against an array of a known size."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.evaluation.memory import read_peak_memory, reset_peak_memory


def test_the_peak_grows_with_the_work_and_is_forgotten():
    if not reset_peak_memory():
        pytest.skip("this system tells no peak")
    before = read_peak_memory()
    work = np.ones(25_000_000)  # 200 MB
    assert work.sum() == 25_000_000
    del work
    after = read_peak_memory()
    assert after - before > 150
    reset_peak_memory()
    assert read_peak_memory() < after - 100
