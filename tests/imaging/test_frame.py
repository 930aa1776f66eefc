"""The model frame: where slices and prompts land, and that the area filter is the published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from medsam.errors import IntensityError
from medsam.imaging.frame import MEAN, STD, Frame, resize

SIZES = st.integers(1, 700)


def test_squash_stretches_both_sides() -> None:
    frame = Frame(512, 256, 1024)
    assert frame.inner_hw == (1024, 1024)
    assert frame.scale_xy == (4.0, 2.0)
    assert frame.boxes_to_model(np.array([[10, 20, 30, 40]])).tolist() == [[40, 40, 120, 80]]
    assert frame.points_to_model(np.array([[1, 1]])).tolist() == [[4, 2]]


def test_pad_keeps_the_ratio_and_fills_below_and_right_with_zero() -> None:
    frame = Frame(300, 200, 150, fit="pad", interpolation="area", scaling="unit")
    assert frame.inner_hw == (150, 100)
    assert frame.scale_xy == (0.5, 0.5)
    model = frame.image_to_model(np.full((300, 200, 3), 255, np.uint8))
    assert model.shape == (3, 150, 150)
    assert model.dtype == np.float32
    assert (model[:, :, :100] == 1).all()
    assert (model[:, :, 100:] == 0).all()


def test_very_long_slices_keep_a_pixel() -> None:
    assert Frame(1, 1000, 256, fit="pad").inner_hw == (1, 256)
    assert Frame(1000, 1, 256, fit="pad").image_to_model(np.zeros((1000, 1, 3), np.uint8)).shape == (3, 256, 256)


def test_scalings_by_hand() -> None:
    slice_HW3 = np.array([[[10, 10, 10], [110, 110, 110]]], np.uint8)
    frame = Frame(1, 2, 2, fit="pad", interpolation="area", scaling="min-max")
    assert frame.image_to_model(slice_HW3)[0, 0].tolist() == [0.0, 1.0]
    unit = Frame(1, 2, 2, fit="pad", interpolation="area", scaling="unit").image_to_model(slice_HW3)
    assert unit[0, 0] == pytest.approx([10 / 255, 110 / 255])
    sam = Frame(1, 2, 2, fit="pad", interpolation="area", scaling="mean-std").image_to_model(slice_HW3)
    assert sam[:, 0, 0] == pytest.approx((10 - MEAN) / STD)
    assert (sam[:, 1] == 0).all()


def test_a_constant_slice_becomes_zero_not_nan() -> None:
    assert (Frame(4, 4, 8).image_to_model(np.full((4, 4, 3), 9, np.uint8)) == 0).all()


def test_min_max_spans_all_three_channels() -> None:
    slice_HW3 = np.zeros((2, 2, 3), np.uint8)
    slice_HW3[..., 0] = 50
    slice_HW3[..., 1] = 100
    model = Frame(2, 2, 2).image_to_model(slice_HW3)
    assert model[:, 0, 0] == pytest.approx([0.5, 1.0, 0.0])


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((4, 5, 3), np.uint8)]
)
def test_other_slices_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(IntensityError):
        Frame(4, 4, 8).image_to_model(bad)


@given(SIZES, SIZES, st.sampled_from(["squash", "pad"]))
def test_boxes_come_back_through_the_frame(height: int, width: int, fit: str) -> None:
    frame = Frame(height, width, 256, fit=fit)  # type: ignore[arg-type]
    box = np.array([[0.25 * width, 0.1 * height, width, height]])
    there = frame.boxes_to_model(box)
    assert there.max() <= 256 * (1 + 1e-6)
    assert there / (frame.scale_xy * 2) == pytest.approx(box, rel=1e-5)


def test_a_mask_is_laid_in_by_nearest_neighbour() -> None:
    mask = np.array([[0, 7], [9, 0]], np.uint8)
    model = Frame(2, 2, 4).mask_to_model(mask)
    assert model.tolist() == [[0, 0, 7, 7], [0, 0, 7, 7], [9, 9, 0, 0], [9, 9, 0, 0]]
    padded = Frame(1, 2, 4, fit="pad").mask_to_model(np.array([[5, 6]]))
    assert padded.tolist() == [[5, 5, 6, 6], [5, 5, 6, 6], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_halving_rounds_halves_up_as_the_published_filter() -> None:
    picture = np.array([[1, 2], [2, 1]], np.uint8)[..., None]  # mean 1.5
    assert resize(picture, (1, 1), "area").item() == 2
    assert resize(np.array([[0, 1], [0, 1]], np.uint8)[..., None], (1, 1), "area").item() == 1  # 0.5


def test_area_averages_what_a_pixel_covers() -> None:
    row = np.array([[0, 30, 60]], np.uint8)[..., None]  # each new pixel covers 1.5 old ones
    assert resize(row, (1, 2), "area").ravel().tolist() == [10, 50]


def test_area_equals_the_published_filter_on_real_slices(shared_data: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    for folder in sorted((shared_data / "slices").iterdir()):
        with Picture.open(sorted((folder / "images").iterdir())[-1]) as picture:
            pixels = np.asarray(picture)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        frame = Frame(*pixels.shape[:2], 256, fit="pad", interpolation="area")
        rows, columns = frame.inner_hw
        published = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, -1)
        apart = np.abs(resize(pixels, (rows, columns), "area").astype(int) - published)
        assert apart.max() <= 1, folder.name
        if min(pixels.shape[:2]) >= 256:
            assert (apart > 0).mean() < 1e-3, folder.name


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=80, deadline=None)
def test_area_is_within_one_grey_level_of_the_published_filter(
    h: int, w: int, rows: int, columns: int, seed: int
) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype(np.uint8)
    published = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    assert np.abs(resize(pixels, (rows, columns), "area").astype(int) - published).max() <= 1


def test_grey_slices_are_resized_once_and_give_three_equal_channels() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (33, 44)).astype(np.uint8)
    for interpolation in ("bicubic", "bilinear", "area"):
        model = Frame(33, 44, 64, interpolation=interpolation).image_to_model(np.repeat(grey[..., None], 3, axis=2))  # type: ignore[arg-type]
        assert np.array_equal(model[0], model[1])
        assert np.array_equal(model[0], model[2])


def test_the_same_size_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    assert resize(pixels, (5, 6), "bicubic") is pixels
