"""Masks in the database: equal after a round trip, small, and never believed where damaged."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medsam.annotation.study.label_runs import HEAD, MAGIC, decode_runs, encode_runs
from medsam.errors import DataError


@given(arrays(np.uint16, st.tuples(*[st.integers(1, 6)] * 3), elements=st.sampled_from([0, 1, 2, 65535])))
def test_labels_come_back_as_they_were(labels: np.ndarray) -> None:
    assert np.array_equal(decode_runs(encode_runs(labels)), labels)


def test_a_large_empty_mask_is_small() -> None:
    assert len(encode_runs(np.zeros((40, 512, 512), np.uint8))) < 100


@pytest.mark.parametrize("labels", [np.zeros((2, 2), np.uint8), np.full((1, 1, 1), 70000), np.full((1, 1, 1), -1)])
def test_what_is_no_mask_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="labels from 0 to 65535"):
        encode_runs(labels)


def test_damage_is_told_and_a_bomb_is_not_unfolded() -> None:
    good = encode_runs(np.arange(8, dtype=np.uint8).reshape(2, 2, 2))
    generator = random.Random(7)
    for _ in range(300):
        data = bytearray(good)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        try:
            decode_runs(bytes(data))
        except DataError:
            continue
    for data in (b"", good[:10], good[:-1], HEAD.pack(MAGIC, 2**31, 2**31, 2**31, 5) + good[HEAD.size :]):
        with pytest.raises(DataError, match="damaged"):
            decode_runs(data)


def test_runs_are_those_of_a_plain_comparison_at_every_length_and_pattern() -> None:
    rng = np.random.default_rng(0)
    for size in (*range(1, 40), 1001):
        patterns = [np.tile(np.array(word, np.uint16), size)[:size] for word in ([0, 1], [2, 1, 0], [0, 0, 0, 5])]
        for flat in (rng.integers(0, 3, size), np.repeat(rng.integers(0, 3, size), 5)[:size], *patterns):
            data = encode_runs(flat.astype(np.uint16).reshape(1, 1, size))
            count = int.from_bytes(data[16:24], "little")
            assert count == 1 + np.count_nonzero(flat[1:] != flat[:-1])
            assert np.array_equal(decode_runs(data).reshape(-1), flat)
