"""Slices on the wire: the same values in a type that browsers have."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.server.scans import wire_values


@pytest.mark.parametrize(
    ("dtype", "wired"), [("?", "|u1"), (">i2", "<i2"), ("u1", "|u1"), ("<u4", "<u4"), ("<i8", "<f4"), ("<f8", "<f4")]
)
def test_values_stay_and_bytes_are_little_endian(dtype: str, wired: str) -> None:
    values = np.array([[0, 1], [1, 0]]).astype(dtype)
    sent = wire_values(values)
    assert sent.dtype.str == wired
    assert np.array_equal(sent.astype(float), values.astype(float))
