"""Masks in the database: equal after a round trip, small, and never believed where damaged."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medsam.annotation.study.label_runs import (
    HEAD,
    MAGIC,
    WHOLE,
    LabelRuns,
    SliceRuns,
    decode_runs,
    encode_runs,
)
from medsam.errors import DataError

maps = arrays(np.uint16, st.tuples(*[st.integers(1, 6)] * 3), elements=st.sampled_from([0, 1, 2, 65535]))


def packed_whole(labels: np.ndarray) -> bytes:
    """As versions before 0.2 packed a map: all labels of its runs, then all lengths."""
    flat = labels.astype("<u2").reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size)).astype("<u4")
    body = zlib.compress(flat[starts].tobytes() + lengths.tobytes())
    return HEAD.pack(WHOLE, *labels.shape, len(starts)) + body


@given(maps)
def test_labels_come_back_as_they_were(labels: np.ndarray) -> None:
    assert np.array_equal(decode_runs(encode_runs(labels)).unfold(), labels)
    assert encode_runs(decode_runs(encode_runs(labels))) == encode_runs(LabelRuns.of(labels)) == encode_runs(labels)


@given(maps)
def test_what_an_older_version_packed_is_the_same_map(labels: np.ndarray) -> None:
    found = decode_runs(packed_whole(labels))
    assert np.array_equal(found.unfold(), labels) and encode_runs(found) == encode_runs(labels)


@given(maps, st.data())
def test_planes_are_those_of_the_array_also_after_a_change(labels: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, 2))
    index = data.draw(st.integers(0, labels.shape[axis] - 1))
    before = LabelRuns.of(labels)
    for at in range(3):
        for k in range(labels.shape[at]):
            assert np.array_equal(before.plane(at, k), np.take(labels, k, axis=at))
    plane = np.take(labels, index, axis=axis)
    plane = data.draw(arrays(np.uint16, plane.shape, elements=st.sampled_from([0, 1, 7])))
    after = before.with_plane(axis, index, plane)
    np.moveaxis(labels, axis, 0)[index] = plane
    assert np.array_equal(after.unfold(), labels) and encode_runs(after) == encode_runs(labels)


@given(maps)
def test_bounds_ids_and_replaced_labels_are_those_of_the_array(labels: np.ndarray) -> None:
    runs = LabelRuns.of(labels)
    assert runs.ids == tuple(n for n in np.unique(labels).tolist() if n)
    for label in runs.ids:
        bounds = runs.bounds(label)
        places = np.argwhere(labels == label)
        assert bounds == tuple(zip(places.min(axis=0).tolist(), (places.max(axis=0) + 1).tolist(), strict=True))
        window = tuple(slice(*ends) for ends in bounds)
        assert np.array_equal(runs.where(label, bounds), labels[window] == label)
        assert encode_runs(runs.replace(label, 1)) == encode_runs(np.where(labels == label, 1, labels))


def test_a_change_makes_one_slice_and_shares_the_others() -> None:
    labels = np.ones((5, 6, 7), np.uint8)
    before = LabelRuns.of(labels)
    after = before.with_plane(0, 3, np.zeros((6, 7), np.uint8))
    assert [one is old for one, old in zip(after.slices, before.slices, strict=True)] == [True] * 3 + [False, True]
    assert after.changed(before) == [3]
    across = before.with_plane(1, 0, np.array([[1] * 7] * 4 + [[1] * 6 + [2]]))
    assert across.changed(before) == [4] and across.slices[0] is before.slices[0]
    read = decode_runs(encode_runs(after), like=before)
    assert read.changed(before) == [3] and read.slices[4] is before.slices[4]
    again = LabelRuns.of(after.unfold(), like=before)
    assert again.slices[0] is before.slices[0] and again.changed(after) == []


def test_a_large_empty_mask_is_small() -> None:
    assert len(encode_runs(np.zeros((40, 512, 512), np.uint8))) < 100


@pytest.mark.parametrize("labels", [np.zeros((2, 2), np.uint8), np.full((1, 1, 1), 70000), np.full((1, 1, 1), -1)])
def test_what_is_no_mask_is_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="labels from 0 to 65535"):
        encode_runs(labels)


@pytest.mark.parametrize("pack", [encode_runs, packed_whole])
def test_damage_is_told_and_a_bomb_is_not_unfolded(pack: Callable[[np.ndarray], bytes]) -> None:
    good = pack(np.arange(8, dtype=np.uint16).reshape(2, 2, 2))
    generator = random.Random(7)
    for _ in range(300):
        data = bytearray(good)
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        try:
            decode_runs(bytes(data)).unfold()
        except DataError:
            continue
    heads = [HEAD.pack(good[:4], *shape, 5) for shape in ((2**31, 2**31, 2**31), (2**31, 1, 1), (2**20, 2**20, 0))]
    bomb = HEAD.pack(MAGIC, 1, 2, 2, 1) + np.array([0, 1 << 20], "<u4").tobytes() + zlib.compress(bytes(1 << 26), 9)
    for data in (b"", good[:10], good[:-1], good + b"x", *(head + good[HEAD.size :] for head in heads), bomb):
        with pytest.raises(DataError, match="damaged"):
            decode_runs(data)


def test_slices_out_of_order_or_beyond_the_map_are_damage() -> None:
    good = encode_runs(np.ones((2, 2, 2), np.uint8))
    table = np.frombuffer(good, "<u4", offset=HEAD.size, count=4).reshape(2, 2)
    for places in ([1, 0], [0, 0], [0, 2]):
        changed = np.column_stack([places, table[:, 1]]).astype("<u4").tobytes()
        with pytest.raises(DataError, match="damaged"):
            decode_runs(good[: HEAD.size] + changed + good[HEAD.size + 16 :])


def test_runs_are_those_of_a_plain_comparison_at_every_length_and_pattern() -> None:
    rng = np.random.default_rng(0)
    for size in (*range(1, 40), 1001):
        patterns = [np.tile(np.array(word, np.uint16), size)[:size] for word in ([0, 1], [2, 1, 0], [0, 0, 0, 5])]
        for flat in (rng.integers(0, 3, size), np.repeat(rng.integers(0, 3, size), 5)[:size], *patterns):
            runs = SliceRuns.of(flat.astype(np.uint16).reshape(1, size))
            assert len(runs.labels) == 1 + np.count_nonzero(flat[1:] != flat[:-1])
            assert np.array_equal(runs.at(np.arange(size)), flat)
