"""TIFF: pages, orientation, channels and times, and masks whose display is turned round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from small_pictures import GREY, saved

import medsam
from medsam.errors import InputFileError

UPRIGHT = {1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T, 6: np.rot90(GREY, -1), 7: GREY[::-1, ::-1].T, 8: np.rot90(GREY)}  # fmt: skip


@pytest.mark.parametrize("code", UPRIGHT)
def test_tiff_orientation_is_applied(tmp_path: Path, code: int) -> None:
    path = saved(tmp_path / "a.tif", GREY, tiffinfo={274: code})
    assert np.array_equal(medsam.read_image(path).values[0], UPRIGHT[code])


def test_tiff_pages_are_slices(tmp_path: Path) -> None:
    pages = [Picture.fromarray(GREY + i) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    image = medsam.read_image(tmp_path / "a.tif")
    assert image.values.shape == (3, 3, 4)
    assert np.array_equal(image.values[2], GREY + 2)


def test_a_stack_three_pixels_wide_is_not_taken_for_colour(tmp_path: Path) -> None:
    stack = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    assert np.array_equal(medsam.read_image(tmp_path / "a.tif").values, stack)
    assert np.array_equal(medsam.read_mask(tmp_path / "a.tif").labels, stack)


def test_tiff_pages_of_two_sizes_are_refused(tmp_path: Path) -> None:
    Picture.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[Picture.fromarray(GREY[:2])])
    with pytest.raises(InputFileError, match="3 x 4, 2 x 4"):
        medsam.read_image(tmp_path / "a.tif")


def test_tiff_pages_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", GREY)
    data = bytearray(path.read_bytes())
    start = int.from_bytes(data[4:8], "little")
    after = start + 2 + 12 * int.from_bytes(data[start : start + 2], "little")
    for target in (start, len(data) + 5):
        data[after : after + 4] = target.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(InputFileError, match="chain of pages"):
            medsam.read_image(path)


def test_float_tiff_keeps_its_values(tmp_path: Path) -> None:
    values = np.array([[0.25, -1.5], [3e4, 0.0]], np.float32)
    assert np.array_equal(medsam.read_image(saved(tmp_path / "a.tif", values)).values[0], values)


def test_white_is_zero_tiff_is_turned_bright(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    assert np.array_equal(medsam.read_image(tmp_path / "a.tif").values[0], 255 - GREY)


def test_tiff_channels_need_a_choice(tmp_path: Path) -> None:
    channels = np.arange(2 * 3 * 4, dtype=np.uint16).reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / "a.tif", channels, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(InputFileError, match="2 volumes: 2 channels"):
        medsam.read_image(tmp_path / "a.tif")
    assert np.array_equal(medsam.read_image(tmp_path / "a.tif", volume=1).values[0], channels[1])


def test_white_is_zero_says_how_labels_are_shown_and_not_which_they_are(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [0, 0, 2]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="miniswhite")
    assert np.array_equal(medsam.read_mask(tmp_path / "a.tif").labels[0], labels)
    assert np.array_equal(medsam.read_image(tmp_path / "a.tif").values[0], 255 - labels)


def test_a_mask_of_imagej_is_255_shown_black(tmp_path: Path) -> None:
    mask = np.array([[0, 255, 0]], np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", mask, photometric="miniswhite", description="ImageJ=1.54f\n", metadata=None)
    assert medsam.read_mask(tmp_path / "a.tif").labels[0].tolist() == [[0, 1, 0]]


def test_black_and_white_with_0_shown_white_by_nobody_known_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 255, 0]], np.uint8), photometric="miniswhite", metadata=None)
    with pytest.raises(InputFileError, match="0 shown as white and 255 as black"):
        medsam.read_mask(tmp_path / "a.tif")
    turned = np.array([[255, 254, 253]], np.uint8)  # the labels 0, 1, 2 as another program would show and store them
    tifffile.imwrite(tmp_path / "a.tif", turned, photometric="miniswhite", metadata=None)
    with pytest.raises(InputFileError, match="taken for each other"):
        medsam.read_mask(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "group4", "group3"])
def test_one_bit_masks_are_what_is_bright_however_they_are_stored(tmp_path: Path, compression: str | None) -> None:
    bits = Picture.fromarray(np.array([[True, False, False, True, False, False, False, False]] * 4))
    path = saved(tmp_path / "a.tif", bits, **({"compression": compression} if compression else {}))
    assert medsam.read_mask(path).labels[0, 0].tolist() == [1, 0, 0, 1, 0, 0, 0, 0]
    assert medsam.read_image(path).values[0, 0].tolist() == [255, 0, 0, 255, 0, 0, 0, 0]


def test_a_large_empty_one_bit_mask_is_no_bomb(tmp_path: Path) -> None:
    bits = Picture.new("1", (4000, 4000))
    bits.paste(1, (100, 100, 200, 300))
    for name, options in (("a.tif", {"compression": "group4"}), ("a.png", {})):
        assert int(medsam.read_mask(saved(tmp_path / name, bits, **options)).labels.sum()) == 20_000


def test_times_and_channels_are_counted_together(tmp_path: Path) -> None:
    stack = np.arange(2 * 3 * 2 * 4 * 5, dtype=np.uint16).reshape(2, 3, 2, 4, 5)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(InputFileError, match=r"4 volumes: 2 times x 2 channels; .* from 0 to 3"):
        medsam.read_image(tmp_path / "a.tif")
    for number in range(4):
        values = medsam.read_image(tmp_path / "a.tif", volume=number).values
        assert np.array_equal(values, stack[number // 2, :, number % 2])
    with pytest.raises(InputFileError, match="no volume 4"):
        medsam.read_image(tmp_path / "a.tif", volume=4)


def test_a_single_volume_has_no_other(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="holds no volume 1"):
        medsam.read_image(saved(tmp_path / "a.tif", GREY), volume=1)


def test_a_tile_beyond_all_measure_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 80), np.uint8), tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["TileLength"].overwrite(1 << 15)
        file.pages[0].tags["TileWidth"].overwrite(1 << 15)
    with pytest.raises(InputFileError):
        medsam.read_image(path, max_bytes=1 << 24)


def test_strips_that_are_not_listed_are_not_filled_with_zeros(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((64, 8), np.uint8), rowsperstrip=16, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(640)
    with pytest.raises(InputFileError, match="4 strips or tiles of 40"):
        medsam.read_image(tmp_path / "a.tif")
