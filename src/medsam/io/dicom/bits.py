"""Where in its cell a stored DICOM pixel lies: BitsAllocated, BitsStored, HighBit and PixelRepresentation (PS3.5, 8.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from medsam.errors import InputFileError
from medsam.io.dicom.attributes import require_whole
from medsam.io.dicom.files import RECOPY


@dataclass(frozen=True)
class BitLayout:
    """The place of a pixel in its cell.

    Args:
        allocated: Bits of a cell.
        stored: Bits of a pixel.
        high: The highest bit of the pixel, from 0.
        signed: Whether the pixel is in two's complement.
    """

    allocated: int
    stored: int
    high: int
    signed: bool

    @property
    def shift(self) -> int:
        """Bits below the pixel; 0 in nearly every file."""
        return self.high - self.stored + 1


def read_layout(dataset: Dataset, name: str) -> BitLayout:
    """Read the layout of an object's pixels.

    Args:
        dataset: The object.
        name: For messages.

    Raises:
        InputFileError: the pixel does not fit into its cell.
    """
    allocated = require_whole(dataset, "BitsAllocated", name)
    stored = require_whole(dataset, "BitsStored", name, allocated)
    high = require_whole(dataset, "HighBit", name, stored - 1)
    if not 0 < stored <= high + 1 <= allocated:
        raise InputFileError(
            f"{name} stores {stored} bits up to bit {high} in cells of {allocated}",
            expected="BitsStored - 1 <= HighBit < BitsAllocated",
            fix=RECOPY,
        )
    return BitLayout(allocated, stored, high, require_whole(dataset, "PixelRepresentation", name, 0) == 1)


def take_pixels(cells: np.ndarray, layout: BitLayout) -> np.ndarray:
    """Cut the pixels out of their cells.

    Args:
        cells: Whole cells, of any integer type as wide as the cell or wider.
        layout: Where the pixels lie in them.

    Returns:
        Pixels of the same width, signed where the layout is.
    """
    width = cells.dtype.itemsize
    unsigned = cells.view(f"u{width}") >> layout.shift
    spare = 8 * width - layout.stored
    return (unsigned << spare).view(f"{'i' if layout.signed else 'u'}{width}") >> spare


def take_decoded(decoded: np.ndarray, layout: BitLayout, name: str) -> np.ndarray:
    """Give the pixels of a decompressed stream their sign.

    Args:
        decoded: What the decoder gave, in the lowest bits of its type.
        layout: What the header says of them.
        name: For messages.

    Raises:
        InputFileError: the stream holds more bits than the header says, so that one of them is wrong.
    """
    pixels = take_pixels(decoded, layout)
    unsigned = pixels.view(f"u{pixels.dtype.itemsize}") & np.array(
        (1 << layout.stored) - 1, f"u{pixels.dtype.itemsize}"
    )
    bare = decoded.view(unsigned.dtype)
    if not ((decoded == pixels) | (bare == unsigned)).all():
        raise InputFileError(
            f"{name} is compressed with more bits than its BitsStored, {layout.stored}",
            expected="the same number of bits in the header and in the compressed pixels",
            fix=RECOPY,
        )
    return pixels
