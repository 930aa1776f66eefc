"""Boxes: x0 y0 x1 y1, made from masks, checked, clipped, shaken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medsam.errors import PromptError
from medsam.imaging.boxes import (
    MOVES,
    box_from_mask,
    clip_boxes,
    fit_box,
    perturb_boxes,
    sort_corners,
    validate_boxes,
    validate_points,
)


def test_a_box_runs_between_the_centres_of_the_outer_pixels() -> None:
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:9] = True
    assert box_from_mask(mask).tolist() == [3, 2, 8, 4]


@pytest.mark.parametrize(("pixel", "box"), [((0, 0), [0, 0, 1, 1]), ((3, 4), [4, 3, 5, 4]), ((7, 9), [9, 7, 10, 8])])
def test_one_pixel_gets_a_box_of_one_pixel(pixel: tuple[int, int], box: list[int]) -> None:
    mask = np.zeros((8, 10), bool)
    mask[pixel] = True
    assert box_from_mask(mask).tolist() == box
    validate_boxes(box, 8, 10)


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(PromptError, match="empty"):
        box_from_mask(np.zeros((3, 3), bool))


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_boxes_of_masks_are_valid_prompts(mask: np.ndarray) -> None:
    if mask.any():
        validate_boxes(box_from_mask(mask), *mask.shape)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((5, 5, 5, 9), "empty"),
        ((5, 5, 9, 5), "empty"),
        ((9.5, 7, 9, 3), "box 9,3,9.5,7 is under one pixel wide or high; .*; give two opposite corners in pixels"),
        ((0.3, 0.3, 0.6, 0.6), "normalized coordinates: multiply x by the width 10 and y by the height 8"),
        ((-1, 0, 5, 5), "leaves the image of 10 x 8"),
        ((0, 0, 10.5, 5), "leaves the image"),
        ((0, 0, 5, 8.5), "leaves the image"),
        ((np.nan, 0, 5, 5), "finite"),
        ((0, 0, np.inf, 5), "finite"),
        ((1, 2, 3), "shape"),
        ([], "shape"),
        ("abc", "numbers"),
        ([[1, 2, 3, 4], [1, 2]], "numbers"),
        (None, "nan|shape"),
    ],
)
def test_bad_boxes_are_refused_in_words(box: object, words: str) -> None:
    with pytest.raises(PromptError, match=words):
        validate_boxes(box, 8, 10)


def test_good_boxes_come_as_n_by_4() -> None:
    assert validate_boxes((0, 0, 10, 8), 8, 10).shape == (1, 4)
    assert validate_boxes([(0, 0, 1, 1), (1.5, 2, 3, 4)], 8, 10).dtype == np.float64


@pytest.mark.parametrize("box", [(2, 1, 9, 7), (9, 1, 2, 7), (2, 7, 9, 1), (9, 7, 2, 1)])
def test_corners_may_come_in_any_order(box: tuple[float, ...]) -> None:
    assert validate_boxes(box, 8, 10).tolist() == [[2, 1, 9, 7]]
    assert sort_corners(box) == (2, 1, 9, 7)
    assert sort_corners((5, 1, 8, 2, 3, 4)) == (2, 1, 4, 5, 3, 8)


def test_a_box_is_cut_to_another_and_keeps_a_pixel() -> None:
    limit = (2.0, 2.0, 8.0, 6.0)
    assert fit_box((0, 3, 7, 9), limit) == (2, 3, 7, 6)
    assert fit_box((7.9, 0, 20, 2.1), limit) == (7, 2, 8, 3)
    assert fit_box((4.0, 4, 4, 4), limit) == (3.5, 3.5, 4.5, 4.5)


def test_points_lie_in_the_slice() -> None:
    assert validate_points((3, 4), 8, 10).tolist() == [[3, 4]]
    assert validate_points([(0, 0), (10, 8)], 8, 10).shape == (2, 2)
    for bad in ((11, 0), (0, 9), (-1, 0), (np.nan, 1)):
        with pytest.raises(PromptError, match="leaves the image"):
            validate_points(bad, 8, 10)
    for bad in ((1, 2, 3), "ab", []):
        with pytest.raises(PromptError):
            validate_points(bad, 8, 10)


def test_boxes_are_cut_to_the_slice() -> None:
    assert clip_boxes(np.array([[-5.0, 2, 30, 9]]), 8, 10).tolist() == [[0, 2, 10, 8]]


def test_enlarging_noise_never_cuts_into_the_box() -> None:
    boxes = np.array([[40.0, 50, 60, 70]] * 200)
    moved = perturb_boxes(boxes, 256, 256, np.random.default_rng(0), noise="enlarge")
    assert (moved[:, :2] <= boxes[:, :2]).all()
    assert (moved[:, 2:] >= boxes[:, 2:]).all()
    assert np.abs(moved - boxes).max() <= 20 * 256 / 1024
    assert np.abs(moved - boxes).max() > 4


def test_noise_is_measured_in_the_papers_frame_on_each_axis() -> None:
    boxes = np.array([[100.0, 100, 300, 300]] * 500)
    moved = perturb_boxes(boxes, 512, 2048, np.random.default_rng(0), max_px=20)
    assert 38 < np.abs(moved - boxes)[:, [0, 2]].max() <= 40
    assert 9 < np.abs(moved - boxes)[:, [1, 3]].max() <= 10
    assert (moved[:, 0] > 100).any()
    assert (moved[:, 0] < 100).any()


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000), st.floats(0, 400))
@settings(max_examples=200)
def test_shaken_boxes_stay_valid_prompts(height: int, width: int, seed: int, max_px: float) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    mask[rng.integers(height), rng.integers(width)] = True
    for noise in MOVES:
        for share in (None, 0.2):
            box = box_from_mask(mask)[None]
            moved = perturb_boxes(box, height, width, rng, max_px=max_px, noise=noise, max_share=share)
            validate_boxes(moved, height, width)
            assert (moved[:, 2:] - moved[:, :2]).min() >= 1 - 1e-9


def test_no_noise_moves_nothing() -> None:
    boxes = np.array([[1.0, 2, 3, 4]])
    assert np.array_equal(perturb_boxes(boxes, 8, 8, np.random.default_rng(0), max_px=0), boxes)


def test_a_shifted_box_keeps_its_size_and_stays_in_the_slice() -> None:
    boxes = np.array([[2.0, 100, 22, 130]] * 300)
    moved = perturb_boxes(boxes, 256, 256, np.random.default_rng(0), max_px=40, noise="shift")  # 10 slice pixels
    assert np.allclose(moved[:, 2:] - moved[:, :2], [20, 30])
    assert moved[:, 0].min() == 0  # 2 pixels of room on the left, 10 on the right
    assert 11.5 < moved[:, 0].max() <= 12
    assert 90 <= moved[:, 1].min() < 90.5
    assert 109.5 < moved[:, 1].max() <= 110


def test_all_noise_moves_boxes_and_their_sides_within_the_limit() -> None:
    boxes = np.array([[100.0, 100, 140, 160]] * 2000)
    moves = perturb_boxes(boxes, 1024, 1024, np.random.default_rng(0), max_px=20, noise="all") - boxes
    assert 18 < np.abs(moves).max() <= 20
    # both sides of an axis hold half of the shift: variance 100/3 of it and 100/3 of their own, so correlation 1/2
    assert np.corrcoef(moves[:, 0], moves[:, 2])[0, 1] == pytest.approx(0.5, abs=0.05)
    own = perturb_boxes(boxes, 1024, 1024, np.random.default_rng(0), max_px=20, noise="both") - boxes
    assert abs(np.corrcoef(own[:, 0], own[:, 2])[0, 1]) < 0.06


def test_a_share_limits_the_move_to_the_size_of_the_box() -> None:
    boxes = np.array([[100.0, 100, 110, 140], [200, 200, 600, 900]] * 500)
    moves = np.abs(perturb_boxes(boxes, 1024, 1024, np.random.default_rng(0), max_px=20, max_share=0.1) - boxes)
    small, large = moves[::2], moves[1::2]
    assert 0.95 < small[:, [0, 2]].max() <= 1.0  # a tenth of 10
    assert 3.8 < small[:, [1, 3]].max() <= 4.0  # a tenth of 40
    assert 19 < large.max() <= 20  # a tenth of 400 is more than 20


def test_the_papers_noise_draws_the_same_boxes_as_ever() -> None:
    boxes = np.array([[10.0, 20, 30, 50], [1, 2, 13, 24]])
    rng = np.random.default_rng(5)
    by_hand = boxes + rng.uniform(-20, 20, (2, 4)) * np.array([-1.0, -1, 1, 1]) * (np.array([64, 128, 64, 128]) / 1024)
    assert np.array_equal(
        perturb_boxes(boxes, 128, 64, np.random.default_rng(5)), np.clip(by_hand, 0, [64, 128, 64, 128])
    )
