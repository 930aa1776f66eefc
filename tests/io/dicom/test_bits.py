"""The place of a pixel in its cell: HighBit, BitsStored and PixelRepresentation give right values or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantom import compressed, picture
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from medsam.errors import InputFileError
from medsam.io.dicom.bits import BitLayout, take_pixels
from medsam.io.dicom.image import read_series

LAYOUTS = [
    (allocated, stored, high, signed)
    for allocated in (8, 16, 32)
    for stored in (4, 6, 8, 10, 12, 16, 24, 32)
    for high in range(stored - 1, allocated)
    for signed in (False, True)
]


def cells_of(values: np.ndarray, allocated: int, stored: int, high: int) -> np.ndarray:
    """The values as their cells hold them, with ones in every bit that is not theirs."""
    width, shift = allocated // 8, high - stored + 1
    own = (1 << stored) - 1
    filled = ((values.astype(np.int64) & own) << shift) | (((1 << allocated) - 1) & ~(own << shift))
    return filled.astype(f"u{width}")


def image_of(cells: np.ndarray, stored: int, high: int, signed: bool):
    ds = picture(cells, "MONOCHROME2", modality="OT")
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = stored, high, int(signed)
    return ds


@pytest.mark.parametrize(("allocated", "stored", "high", "signed"), LAYOUTS)
def test_every_layout_gives_the_values_that_were_stored(allocated, stored, high, signed):
    low, top = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    values = np.linspace(low, top, 12).round().astype(np.int64).reshape(3, 4)
    cells = cells_of(values, allocated, stored, high)
    assert np.array_equal(take_pixels(cells, BitLayout(allocated, stored, high, signed)), values)
    if np.abs(values).max() < 1 << 24:
        assert np.array_equal(read_series([image_of(cells, stored, high, signed)]).values[0], values)


def test_a_pixel_of_four_bits_by_hand():
    layout = BitLayout(allocated=8, stored=4, high=7, signed=True)
    assert take_pixels(np.array([0b0111_1111, 0b1111_0000], np.uint8), layout).tolist() == [7, -1]
    assert take_pixels(np.empty((0, 4), np.uint8), layout).shape == (0, 4)


@pytest.mark.parametrize(("stored", "high"), [(12, 10), (12, 16), (17, 16)])
def test_a_layout_that_contradicts_itself_is_refused(stored, high):
    ds = image_of(np.ones((3, 4), np.uint16), stored, high, False)
    with pytest.raises(InputFileError, match="bits up to bit"):
        read_series([ds])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_left_aligned_pixels_are_right_or_refused(syntax, signed):
    values = np.arange(-8 if signed else 0, 56 if signed else 64).reshape(8, 8).repeat(8, 0).repeat(8, 1)
    cells = cells_of(values, 16, 12, 15)
    ds = compressed(image_of(cells, 16, 15, False), cells, syntax)
    ds.BitsStored, ds.PixelRepresentation = 12, int(signed)
    if syntax == RLELossless:
        assert np.array_equal(read_series([ds]).values[0], values)
    else:
        with pytest.raises(InputFileError, match="HighBit 15 with BitsStored 12"):
            read_series([ds])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_pixel_are_cleared_where_cells_are_kept_and_refused_where_the_stream_contradicts(syntax, signed):
    values = np.arange(-8 if signed else 0, 56 if signed else 64).reshape(8, 8).repeat(8, 0).repeat(8, 1)
    cells = cells_of(values, 16, 12, 11)
    ds = compressed(image_of(cells, 16, 15, False), cells, syntax)
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, int(signed)
    if syntax == RLELossless:
        assert np.array_equal(read_series([ds]).values[0], values)
    else:
        with pytest.raises(InputFileError, match="more bits than its BitsStored, 12"):
            read_series([ds])
