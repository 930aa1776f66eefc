"""What was drawn by hand is put back, voxel for voxel, in every plane."""

from __future__ import annotations

import numpy as np

from medsam.annotation.study.label_runs import LabelRuns
from medsam.server.drawn import Guard, by_axis, number_of, place_of, with_slice


def kept(before: np.ndarray, after: np.ndarray, drawn: dict[int, frozenset[int]], locked: tuple[int, ...] = ()):
    guard = Guard(before.shape, drawn, locked)
    return guard.over(LabelRuns.of(before), LabelRuns.of(after)).unfold()


def test_voxels_of_a_drawn_slice_neither_go_nor_come() -> None:
    before = np.array([[[1, 1, 0, 2]], [[1, 1, 0, 2]]], np.uint8)
    after = np.array([[[0, 1, 1, 1]], [[0, 1, 1, 1]]], np.uint8)
    assert kept(before, after, {1: frozenset({0})}).tolist() == [[[1, 1, 0, 2]], [[0, 1, 1, 1]]]
    assert kept(before, after, {}).tolist() == after.tolist()


def test_a_slice_across_another_axis_is_kept_too() -> None:
    before, after = np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)
    for axis in range(3):
        found = kept(before, after, {1: frozenset({number_of((2, 3, 4), axis, 1)})})
        assert not np.take(found, 1, axis).any() and np.delete(found, 1, axis).all()


def test_a_slice_of_any_plane_is_kept_as_the_whole_mask_is() -> None:
    rng = np.random.default_rng(0)
    shape = (3, 4, 5)
    before, after = (rng.integers(0, 3, shape).astype(np.uint8) for _ in range(2))
    drawn = {1: frozenset({number_of(shape, 0, 1), number_of(shape, 2, 3)}), 2: frozenset({number_of(shape, 1, 2)})}
    whole = kept(before, after, drawn, (2,))
    for axis in range(3):
        for index in range(shape[axis]):
            old, new = (np.take(labels, index, axis) for labels in (before, after))
            found = Guard(shape, drawn, (2,)).over_plane(axis, index, old, new)
            assert np.array_equal(found, np.take(whole, index, axis))


def test_only_drawn_slices_that_a_result_changes_are_released() -> None:
    shape = (2, 3, 4)
    before, after = np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.uint8)
    after[1, 2] = 1
    met = {number_of(shape, 0, 1), number_of(shape, 1, 1), number_of(shape, 2, 2)}
    missed = {number_of(shape, 0, 0), number_of(shape, 1, 0), number_of(shape, 2, 3)}
    guard = Guard(shape, {1: frozenset(met | missed), 2: frozenset(met)})
    assert guard.release(1, 0, 1, before, after).drawn == {1: missed, 2: met}
    assert Guard(shape, {1: frozenset(met)}).release(1, 0, 1, before, after).drawn == {}


def test_numbers_go_through_the_axes_and_back() -> None:
    shape = (2, 3, 4)
    places = [(axis, index) for axis in range(3) for index in range(shape[axis])]
    assert [number_of(shape, *place) for place in places] == list(range(9))
    assert [place_of(shape, number) for number in range(9)] == places
    drawn = with_slice(with_slice({5: frozenset({1})}, [5, 7], 3), [], 0)
    assert by_axis(shape, drawn) == {5: {0: [1], 1: [1]}, 7: {1: [1]}}


def test_a_locked_object_neither_loses_nor_wins_a_voxel() -> None:
    before, after = np.array([[[1, 2, 0]]], np.uint8), np.array([[[2, 1, 1]]], np.uint8)
    assert kept(before, after, {}, (2,)).tolist() == [[[1, 2, 1]]]
    assert kept(before, after, {}).tolist() == [[[2, 1, 1]]]
