"""What was drawn by hand is put back, voxel for voxel, in every plane."""

from __future__ import annotations

import numpy as np

from medsam.server.drawn import by_axis, keep_drawn, keep_objects, number_of, place_of, with_slice


def test_voxels_of_a_drawn_slice_neither_go_nor_come() -> None:
    before = np.array([[[1, 1, 0, 2]], [[1, 1, 0, 2]]], np.uint8)
    after = np.array([[[0, 1, 1, 1]], [[0, 1, 1, 1]]], np.uint8)
    kept = keep_drawn(before, after, {1: frozenset({0})})
    assert kept.tolist() == [[[1, 1, 0, 2]], [[0, 1, 1, 1]]]
    assert keep_drawn(before, after, {}).tolist() == after.tolist()


def test_a_slice_across_another_axis_is_kept_too() -> None:
    before, after = np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)
    kept = keep_drawn(before, after, {1: frozenset({number_of((2, 3, 4), 2, 1)})})
    assert not kept[:, :, 1].any() and np.delete(kept, 1, 2).all()


def test_numbers_go_through_the_axes_and_back() -> None:
    shape = (2, 3, 4)
    places = [(axis, index) for axis in range(3) for index in range(shape[axis])]
    assert [number_of(shape, *place) for place in places] == list(range(9))
    assert [place_of(shape, number) for number in range(9)] == places
    drawn = with_slice(with_slice({5: frozenset({1})}, [5, 7], 3), [], 0)
    assert by_axis(shape, drawn) == {5: {0: [1], 1: [1]}, 7: {1: [1]}}


def test_a_locked_object_neither_loses_nor_wins_a_voxel() -> None:
    before, after = np.array([[[1, 2, 0]]], np.uint8), np.array([[[2, 1, 1]]], np.uint8)
    assert keep_objects(before, after, [2]).tolist() == [[[1, 2, 1]]]
    assert keep_objects(before, after, []).tolist() == [[[2, 1, 1]]]
