"""One object reshaped, on masks small enough to be counted."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import PromptError
from medsam.imaging.cleaning import clean
from medsam.imaging.reshaping import reshape_object


def flat(*rows: str) -> np.ndarray:
    return np.array([[[int(c) for c in row] for row in rows]], np.uint8)


def test_growing_adds_the_background_within_the_distance_and_stops_at_other_objects() -> None:
    labels = flat("00000", "00120", "00000", "00000")
    assert reshape_object(labels, 1, "grow", by_mm=1).tolist() == flat("00100", "01120", "00100", "00000").tolist()
    assert labels[0, 0, 2] == 0  # what was given is not changed


def test_a_distance_in_mm_reaches_fewer_voxels_along_the_longer_side() -> None:
    point = np.zeros((3, 5, 5), np.uint16)
    point[1, 2, 2] = 7
    grown = reshape_object(point, 7, "grow", by_mm=2, spacing_mm=(3, 2, 1))
    assert np.argwhere(grown == 7).tolist() == [
        [1, 1, 2],
        [1, 2, 0],
        [1, 2, 1],
        [1, 2, 2],
        [1, 2, 3],
        [1, 2, 4],
        [1, 3, 2],
    ]
    assert grown.dtype == np.uint16


def test_a_spacing_in_32_bits_is_reached_by_the_same_distance_in_64() -> None:
    spacing = float(np.float32(0.8))
    grown = reshape_object(flat("00100"), 1, "grow", by_mm=0.8, spacing_mm=(3, spacing, spacing))
    assert grown.tolist() == flat("01110").tolist()


def test_shrinking_takes_the_rim_but_not_at_the_edge_of_the_image() -> None:
    labels = flat("11100", "11100", "11100", "00000")
    assert reshape_object(labels, 1, "shrink", by_mm=1).tolist() == flat("11000", "11000", "00000", "00000").tolist()
    full = np.ones((2, 2, 2), np.uint8)
    assert np.array_equal(reshape_object(full, 1, "shrink", by_mm=1), full)


def test_growing_and_shrinking_back_gives_a_ball_again() -> None:
    z, y, x = np.ogrid[:21, :21, :21]
    ball = (((z - 10) ** 2 + (y - 10) ** 2 + (x - 10) ** 2) <= 25).astype(np.uint8)
    grown = reshape_object(ball, 1, "grow", by_mm=2)
    back = reshape_object(grown, 1, "shrink", by_mm=2)
    assert grown.sum() > 2 * ball.sum() and (back[ball > 0] == 1).mean() > 0.95 and back.sum() < 1.1 * ball.sum()


def test_a_slice_alone_is_reshaped_in_two_dimensions_whatever_its_thickness() -> None:
    labels = flat("000", "010", "000")
    thick = reshape_object(labels, 1, "grow", by_mm=1, spacing_mm=(9, 1, 1))
    assert thick.tolist() == flat("010", "111", "010").tolist()


def test_cleaning_one_object_is_the_cleaning_of_the_library_and_others_stay() -> None:
    labels = flat("1111022", "1001020", "1311022", "1111000")
    assert reshape_object(labels, 1, "fill").tolist() == flat("1111022", "1111020", "1311022", "1111000").tolist()
    rng = np.random.default_rng(4)
    noisy = (rng.random((6, 12, 12)) < 0.6).astype(np.uint8)
    for how in ("fill", "largest", "smooth"):
        assert np.array_equal(reshape_object(noisy, 1, how, spacing_mm=(3, 1, 1)), clean(noisy, how, (3, 1, 1)))


@pytest.mark.parametrize(
    ("label", "how", "by_mm", "words"),
    [
        (2, "fill", 0, "object 2 is not drawn"),
        (1, "grow", 0, "distance"),
        (1, "grow", float("nan"), "distance"),
        (1, "shrink", 9, "would vanish"),
        (1, "twist", 1, "the way is"),
    ],
)
def test_what_cannot_be_done_is_said(label: int, how: str, by_mm: float, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        reshape_object(flat("000", "010", "000"), label, how, by_mm=by_mm)  # type: ignore[arg-type]
