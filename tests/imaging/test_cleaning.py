"""Cleaning, on masks small enough to be counted."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import PromptError
from medsam.imaging.cleaning import clean


def flat(*rows: str) -> np.ndarray:
    return np.array([[[int(c) for c in row] for row in rows]], np.uint8)


def test_the_largest_part_of_every_label_stays() -> None:
    labels = flat("1101", "0001", "2003", "0022")
    assert clean(labels, "largest").tolist() == flat("1100", "0000", "0003", "0022").tolist()
    assert labels[0, 0, 3] == 1  # what was given is not changed


def test_parts_that_touch_over_a_corner_are_one_and_of_equal_parts_the_first_stays() -> None:
    assert clean(flat("100", "010", "000"), "largest").tolist() == flat("100", "010", "000").tolist()
    assert clean(flat("101", "101"), "largest").tolist() == flat("100", "100").tolist()


def test_holes_are_filled_and_other_labels_in_them_stay() -> None:
    assert clean(flat("1111", "1021", "1111"), "fill").tolist() == flat("1111", "1121", "1111").tolist()
    assert clean(flat("111", "101", "101"), "fill").tolist() == flat("111", "101", "101").tolist()  # open below


def test_a_hole_of_a_volume_is_closed_on_all_sides() -> None:
    shell = np.ones((3, 3, 3), np.int16)
    shell[1, 1, 1] = 0
    assert clean(shell, "fill").all() and clean(shell, "fill").dtype == np.int16
    tube = np.ones((3, 3, 3), np.int16)
    tube[:, 1, 1] = 0
    assert np.array_equal(clean(tube, "fill"), tube)


def test_spikes_go_and_notches_close_and_straight_edges_stay() -> None:
    labels = np.zeros((1, 12, 12), np.uint8)
    labels[0, 6:] = 4  # a half plane keeps its edge
    straight = labels.copy()
    labels[0, 5, 3] = 4  # a spike: 0.30 from below, 0.16 its own, under a half
    labels[0, 6, 8] = 0  # a notch
    assert np.array_equal(clean(labels, "smooth"), straight)


def test_smoothing_reaches_equally_far_in_mm() -> None:
    labels = np.zeros((3, 9, 9), np.uint8)
    labels[1] = 1  # one slice alone
    assert not clean(labels, "smooth")[0].any()
    assert np.array_equal(clean(labels, "smooth", (5.0, 1.0, 1.0)), labels)  # 5 mm: its neighbours are far


def test_a_label_that_would_vanish_stays_as_it_is() -> None:
    labels = np.zeros((1, 9, 9), np.uint8)
    labels[0, 4, 4] = 7
    assert np.array_equal(clean(labels, "smooth"), labels)


@pytest.mark.parametrize("how", ["largest", "fill", "smooth"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1)])
def test_empty_and_one_voxel_masks_stay(how: str, shape: tuple[int, ...]) -> None:
    empty, full = np.zeros(shape, np.uint16), np.full(shape, 300, np.uint16)
    assert np.array_equal(clean(empty, how), empty)  # type: ignore[arg-type]
    assert np.array_equal(clean(full, how), full)  # type: ignore[arg-type]


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(PromptError, match="largest, fill, smooth"):
        clean(flat("1"), "polish")  # type: ignore[arg-type]
