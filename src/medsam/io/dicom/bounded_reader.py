"""How much structure a DICOM file may have: items and elements are counted while they are read, before they fill memory."""

from __future__ import annotations

import io
from typing import BinaryIO

from medsam.errors import InputFileError
from medsam.io.dicom.inflate import Inflated

# An item costs the parser some 4 KiB. The largest honest headers, of 20,000 frames, hold 160,000 items.
MAX_ITEMS = 250_000
MAX_READS = 4_000_000  # an element takes two or three
ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # the tag of an item, little and big endian
ITEM_HEAD = 8


class BoundedReader:
    """What a parser needs of a binary file, as long as it does not read without end.

    Args:
        name: For messages.
        stream: Open where the data set begins.
        pixels: Whether compressed pixels follow, whose fragments are items too and cost nothing.
    """

    def __init__(self, name: str, stream: BinaryIO | Inflated, *, pixels: bool = False) -> None:
        self._name, self._stream, self._pixels = name, stream, pixels
        self._reads = self._items = 0

    def read(self, count: int = -1) -> bytes:
        """Up to `count` bytes from here; all of them without it.

        Raises:
            InputFileError: the file has more items or elements than any honest one.
        """
        data = self._stream.read(count)
        self._reads += 1
        if count == ITEM_HEAD:
            self._items += data[:4] in ITEMS
        elif count > ITEM_HEAD and not self._pixels:
            self._items += max(data.count(mark) for mark in ITEMS)  # a sequence that is taken apart later
        if self._items > MAX_ITEMS or self._reads > MAX_READS:
            raise InputFileError(
                f"{self._name} holds more than {MAX_ITEMS} items or {MAX_READS} values in its header",
                expected="the header of an image",
                fix="check where the file comes from",
            )
        return data

    def tell(self) -> int:
        """Where the next byte is read from."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the stream."""
        return self._stream.seek(offset, whence)
