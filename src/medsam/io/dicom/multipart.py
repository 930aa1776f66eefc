"""Bodies of several parts (multipart/related), read and written as streams: no part is ever whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from medsam.errors import MedsamError

MAX_HEAD_BYTES = 16 << 10  # of a part's header lines, and of what stands before the first part
BLOCK_BYTES = 1 << 16
Part = tuple[dict[str, str], Iterator[bytes]]


def iter_parts(chunks: Iterator[bytes], boundary: str, fail: Callable[[str], MedsamError]) -> Iterator[Part]:
    """Divide a body into its parts as it arrives.

    Args:
        chunks: The body, in pieces of any size.
        boundary: As the Content-Type has it.
        fail: Makes the error to raise of what is wrong, in words.

    Yields:
        Header lines of a part by lower-case name, and its content in pieces; the content is passed over where the
        caller does not read it to its end.

    Raises:
        MedsamError: what `fail` makes of a body that is not multipart or that breaks off.

    Source: RFC 2046, 5.1.
    """
    stream = _Stream(chunks, fail)
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    passed = 0
    for piece in stream.read_until(mark):
        passed += len(piece)
        if passed > MAX_HEAD_BYTES:
            raise fail("no part begins in it")
    while not stream.at_end():
        headers = _parse_head(stream.take_until(b"\r\n\r\n"), fail)
        content = stream.read_until(mark)
        yield headers, content
        for _ in content:
            pass


def _parse_head(head: bytes, fail: Callable[[str], MedsamError]) -> dict[str, str]:
    """Header lines by name; the first line is what follows the boundary, and is blank."""
    first, *lines = head.decode("latin-1").split("\r\n")
    if first.strip():
        raise fail("a part begins in the middle of a line")
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


class _Stream:
    """What has arrived and was not given on yet: never more than a chunk and a header."""

    def __init__(self, chunks: Iterator[bytes], fail: Callable[[str], MedsamError]) -> None:
        self._chunks, self._fail = chunks, fail
        self._held = bytearray(b"\r\n")  # the first boundary may stand at the very start

    def _more(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            raise self._fail("it breaks off in the middle")
        self._held += chunk

    def at_end(self) -> bool:
        """Whether the two dashes of the last boundary come next."""
        while len(self._held) < 2:
            self._more()
        return self._held[:2] == b"--"

    def take_until(self, mark: bytes) -> bytes:
        """What comes before a mark; both are taken out."""
        start = 0
        while (place := self._held.find(mark, start)) < 0:
            if len(self._held) > MAX_HEAD_BYTES:
                raise self._fail("a part has an endless header")
            start = max(len(self._held) - len(mark), 0)
            self._more()
        found = bytes(self._held[:place])
        del self._held[: place + len(mark)]
        return found

    def read_until(self, mark: bytes) -> Iterator[bytes]:
        """What comes before a mark, as it arrives; the mark is taken out at the end."""
        while (place := self._held.find(mark)) < 0:
            sure = len(self._held) - len(mark) + 1
            if sure > 0:
                yield bytes(self._held[:sure])
                del self._held[:sure]
            self._more()
        if place:
            yield bytes(self._held[:place])
        del self._held[: place + len(mark)]


class OneFileBody:
    """A body of one part that is a DICOM file, read while it is sent.

    Args:
        path: The file.
        boundary: A text that the file does not hold.
        count: Called with the number of bytes of each block that goes out.
    """

    def __init__(self, path: Path, boundary: str, count: Callable[[int], None]) -> None:
        self._path, self._count = path, count
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        """Bytes in all, for the Content-Length."""
        return len(self._head) + self._path.stat().st_size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """The blocks of the body."""
        yield self._head
        with self._path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                self._count(len(block))
                yield block
        yield self._tail
