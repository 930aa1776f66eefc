"""normalize: every rule by hand, exact percentiles, refusals, the released preset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import medsam
from medsam.errors import IntensityError
from medsam.imaging.intensity import find_intensity_bounds, find_rule, normalize_16bit
from medsam.imaging.modality import IntensityRule, Window, parse_modality


def image_of(
    values: object, modality: str | None = None, window: Window | None = None, dtype: type = np.int16
) -> medsam.Image:
    array = np.asarray(values, dtype=dtype)
    array = array.reshape(1, 1, -1) if array.ndim == 1 else array
    return medsam.Image(array, medsam.Grid(array.shape[:3]), parse_modality(modality) if modality else None, window)


def grey(image: medsam.Image) -> list[int]:
    assert image.normalized
    assert image.values.dtype == np.uint8
    values: list[int] = image.values.ravel().tolist()
    return values


def test_ct_is_clipped_and_rescaled_by_the_window_bounds() -> None:
    ct = image_of([-1000, -160, 40, 240, 3000], "CT")
    assert grey(medsam.normalize(ct, window="soft-tissue")) == [0, 0, 128, 255, 255]  # 127.5 rounds to even
    assert grey(medsam.normalize(ct, window=(400, 40))) == [0, 0, 128, 255, 255]
    assert grey(medsam.normalize(ct, window="400,40")) == [0, 0, 128, 255, 255]


def test_two_scans_with_the_same_window_map_a_value_alike() -> None:
    narrow = medsam.normalize(image_of([0, 40, 80], "CT"), window="soft-tissue")
    wide = medsam.normalize(image_of([-2000, 40, 2000], "CT"), window="soft-tissue")
    assert grey(narrow)[1] == grey(wide)[1]


def test_ct_takes_the_window_of_its_file_and_never_guesses() -> None:
    assert grey(medsam.normalize(image_of([0, 50, 100], "CT", Window(100, 50)))) == [0, 128, 255]
    with pytest.raises(IntensityError, match="CT without a window"):
        medsam.normalize(image_of([0, 50, 100], "CT"))
    assert grey(medsam.normalize(image_of([0, 50, 100], "CT", Window(100, 50)), window=(200, 100))) == [0, 64, 128]


def test_a_ct_picture_in_8_bit_was_windowed_already() -> None:
    assert grey(medsam.normalize(image_of([0, 50, 200], "CT", dtype=np.uint8))) == [0, 50, 200]


@pytest.mark.parametrize("name", ["MR", "X-ray", "ultrasound", "mammography", "OCT", "PET"])
def test_percentile_modalities_clip_half_a_percent_at_each_end(name: str) -> None:
    values = np.arange(1001)  # the 0.5 percentile is 5, the 99.5 percentile 995
    out = medsam.normalize(image_of(values, name)).values.ravel()
    assert out[:6].tolist() == [0] * 6
    assert out[995:].tolist() == [255] * 6
    assert out[500] == 128  # (500 - 5) / 990 * 255 = 127.5
    assert find_intensity_bounds(image_of(values, name)) == (IntensityRule.PERCENTILE, 5.0, 995.0)


@pytest.mark.parametrize("name", ["endoscopy", "dermoscopy", "fundus", "pathology", "microscopy"])
def test_colours_in_0_to_255_are_unchanged_and_stretched_otherwise(name: str) -> None:
    assert grey(medsam.normalize(image_of([3, 90, 200], name, dtype=np.uint8))) == [3, 90, 200]
    assert grey(medsam.normalize(image_of([3, 90, 200], name))) == [3, 90, 200]
    assert grey(medsam.normalize(image_of([0, 500, 1000], name))) == [0, 128, 255]
    assert grey(medsam.normalize(image_of([-1.0, 0.0, 1.0], name, dtype=np.float32))) == [0, 128, 255]
    assert grey(medsam.normalize(image_of([0.0, 0.5, 1.0], name, dtype=np.float32))) == [0, 128, 255]


def test_an_unknown_modality_passes_only_as_a_picture() -> None:
    assert grey(medsam.normalize(image_of([0, 7, 255], dtype=np.uint8))) == [0, 7, 255]
    with pytest.raises(IntensityError, match="modality is unknown"):
        medsam.normalize(image_of([0, 7, 255]))
    assert grey(medsam.normalize(image_of([0, 20, 80]), window="brain")) == [0, 64, 255]


def test_a_window_is_for_ct_alone() -> None:
    with pytest.raises(IntensityError, match="window for a MR"):
        medsam.normalize(image_of([0, 1], "MR"), window="brain")


def test_normalizing_twice_is_the_same_and_windowing_twice_is_refused() -> None:
    once = medsam.normalize(image_of([0, 50, 100], "CT"), window=(100, 50))
    assert medsam.normalize(once) is once
    with pytest.raises(IntensityError, match="normalized already"):
        medsam.normalize(once, window="brain")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_pixels_are_refused_with_their_slice(bad: float) -> None:
    values = np.ones((3, 2, 2), np.float32)
    values[2, 0, 1] = bad
    with pytest.raises(IntensityError, match="1 pixels of slice 2"):
        medsam.normalize(image_of(values, "MR", dtype=np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_a_constant_image_becomes_black(dtype: type) -> None:
    assert grey(medsam.normalize(image_of([7, 7, 7], "MR", dtype=dtype))) == [0, 0, 0]


def test_one_pixel_and_rgb_keep_their_shape() -> None:
    assert medsam.normalize(image_of([5], "MR")).values.shape == (1, 1, 1)
    rgb = image_of(np.arange(24).reshape(1, 2, 4, 3), "ultrasound")
    out = medsam.normalize(rgb)
    assert out.values.shape == (1, 2, 4, 3)
    assert out.grid is rgb.grid


def test_the_released_preset_rescales_by_the_scans_own_extremes_and_truncates() -> None:
    ct = image_of([-60, 40, 140], "CT")
    assert grey(medsam.normalize(ct, window="soft-tissue", preset="released")) == [0, 127, 255]
    assert grey(medsam.normalize(ct, window="soft-tissue")) == [64, 128, 191]


def test_the_released_preset_takes_percentiles_over_positive_voxels_and_keeps_zeros() -> None:
    values = np.concatenate([np.zeros(500), np.arange(1, 1002)])
    out = medsam.normalize(image_of(values, "MR"), preset="released").values.ravel()
    assert out[:500].max() == 0
    assert out[500 + 5] == 0  # value 6, the 0.5 percentile of 1 to 1001
    assert out[500 + 995] == 255
    negative = medsam.normalize(image_of([-5, -4, -3], "MR"), preset="released")
    assert negative.values.max() == 255


@given(arrays(np.int16, st.integers(1, 300)), st.sampled_from([np.uint8, np.int8, np.uint16, np.int16]))
@settings(max_examples=100, deadline=None)
def test_counted_percentiles_equal_numpys(values: np.ndarray, dtype: type) -> None:
    values = values.astype(dtype)
    _, low, high = find_intensity_bounds(image_of(values, "MR", dtype=dtype))
    assert (low, high) == pytest.approx(tuple(np.percentile(values.astype(np.float64), (0.5, 99.5))), abs=1e-9)


def test_16_bit_steps_round_to_the_8_bit_ones() -> None:
    mr = image_of(np.random.default_rng(0).normal(300, 90, 5000), "MR")
    deep = normalize_16bit(mr)
    assert deep.dtype == np.uint16
    assert np.abs(np.rint(deep / 257) - medsam.normalize(mr).values).max() <= 1


def test_big_integers_and_doubles_keep_their_contrast() -> None:
    for dtype in (np.uint32, np.int32, np.float64):
        out = medsam.normalize(image_of(np.linspace(0, 2**31 - 1, 1001), "MR", dtype=dtype)).values.ravel()
        assert (out[0], out[-1]) == (0, 255)
        assert abs(int(out[500]) - 128) <= 1


def test_contrast_far_from_zero_is_kept() -> None:
    values = 2**30 + np.arange(0, 1001)
    out = medsam.normalize(image_of(values, "MR", dtype=np.int32)).values.ravel()
    assert (out[0], out[500], out[-1]) == (0, 128, 255)


def test_bool_images_are_black_and_white() -> None:
    assert set(grey(medsam.normalize(image_of([0, 1, 1, 0], "MR", dtype=bool)))) == {0, 255}


def test_rule_of_needs_a_modality_unless_it_is_a_picture() -> None:
    assert find_rule(image_of([1, 2])) is None
    assert find_rule(image_of([1, 2], dtype=np.uint8)) is IntensityRule.COLOR
    assert find_rule(image_of([1, 2], "CT")) is IntensityRule.WINDOW


def test_a_window_for_colours_is_refused() -> None:
    with pytest.raises(IntensityError, match="colour"):
        medsam.normalize(image_of(np.zeros((1, 2, 2, 3)), None, dtype=np.uint8), window="lung")
