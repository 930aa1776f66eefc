"""A deflated DICOM data set that unfolds only as far as it is read: the header costs the header, whatever follows it."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from medsam.errors import InputFileError
from medsam.io.limits import MAX_BYTES, say_size

INFLATED_RATIO = 200  # most bytes that one compressed byte may stand for in a deflated file or a zip
INFLATED_FLOOR = 16 << 20  # below this size no ratio is asked for
MAX_HEADER_BYTES = 128 << 20  # unfolded, before the pixels; overlays and curves are the largest things there
STEP = 1 << 20


class Inflated:
    """What a parser needs of a binary file, over the unfolded bytes.

    Args:
        name: For messages.
        file: Open where the deflated bytes begin; it must stay open.
        packed: How many they are.
    """

    def __init__(self, name: str, file: BinaryIO, packed: int) -> None:
        self.name = name
        self._file = file
        self._packed = packed
        self._unfolder = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest = b""
        self._data = bytearray()
        self._at = 0
        self._most = min(max(INFLATED_FLOOR, INFLATED_RATIO * packed), MAX_BYTES)
        self._limit = min(self._most, MAX_HEADER_BYTES)

    def with_pixels(self) -> None:
        """Let what follows the header be read too."""
        self._limit = self._most

    def read(self, count: int = -1) -> bytes:
        """Up to `count` bytes from here; all of them without it.

        Raises:
            InputFileError: more than may be unfolded; nothing is, where that is asked for at once.
        """
        if self._at + count > self._limit:
            raise self._refused(self._at + count)
        self._fill(self._limit + 1 if count < 0 else self._at + count)
        found = bytes(memoryview(self._data)[self._at : None if count < 0 else self._at + count])
        self._at += len(found)
        return found

    def tell(self) -> int:
        """Where the next byte is read from."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move within the unfolded bytes; from the start or from here."""
        self._at = max(0, offset + (self._at if whence == io.SEEK_CUR else 0))
        return self._at

    def size(self, least: int) -> int:
        """Count the unfolded bytes without keeping them.

        Args:
            least: How many the header declares.

        Raises:
            InputFileError: more than may be unfolded, declared or true.
        """
        if least > self._most:
            raise self._refused(least)
        place, rest, unfolder, total = self._file.tell(), self._rest, self._unfolder.copy(), len(self._data)
        while piece := self._next(unfolder):
            total += len(piece)
            if total > self._most:
                raise self._refused(total)
        self._file.seek(place)
        self._rest = rest
        return total

    def _fill(self, until: int) -> None:
        while len(self._data) < until and (piece := self._next(self._unfolder)):
            self._data += piece
            if len(self._data) > self._limit:
                raise self._refused(len(self._data))

    def _next(self, unfolder: zlib._Decompress) -> bytes:
        """The next piece, STEP bytes at most; nothing at the end."""
        while not unfolder.eof:
            self._rest = self._rest or self._file.read(STEP)
            if not self._rest:
                return unfolder.flush()
            piece = unfolder.decompress(self._rest, STEP)
            self._rest = unfolder.unconsumed_tail
            if piece:
                return piece
        return b""

    def _refused(self, size: int) -> InputFileError:
        return InputFileError(
            f"{self.name} inflates {say_size(self._packed)} to {say_size(size)} or more",
            expected=f"at most {say_size(self._limit)} before its pixels and {say_size(self._most)} in all",
            fix="write it uncompressed if you trust it",
        )
