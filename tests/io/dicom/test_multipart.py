"""Multipart bodies as streams: by hand, in pieces of every size, and broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medsam.errors import RemoteError
from medsam.io.dicom.multipart import MAX_HEAD_BYTES, OneFileBody, iter_parts

BODY = b"preamble\r\n--b\r\nA: 1\r\nContent-Length: 3\r\n\r\none\r\n--b  \r\n\r\nt\r\n--w\ro\r\n--b--\r\nrest"


def fail(what: str) -> RemoteError:
    return RemoteError(what, expected="multipart", fix="send it again")


def read(chunks: Iterator[bytes], boundary: str = "b") -> list[tuple[dict[str, str], bytes]]:
    return [(headers, b"".join(content)) for headers, content in iter_parts(chunks, boundary, fail)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_are_the_same_in_pieces_of_any_size(size: int) -> None:
    chunks = (BODY[k : k + size] for k in range(0, len(BODY), size))
    assert read(chunks) == [({"a": "1", "content-length": "3"}, b"one"), ({}, b"t\r\n--w\ro")]


def test_part_that_is_not_read_is_passed_over() -> None:
    assert [headers for headers, _ in iter_parts(iter([BODY]), "b", fail)] == [{"a": "1", "content-length": "3"}, {}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "breaks off"),
        (b"--b", "breaks off"),
        (BODY[:40], "breaks off"),
        (BODY[:-10], "breaks off"),
        (b"--bother\r\n\r\n", "in the middle of a line"),
        (b"x" * (2 * MAX_HEAD_BYTES), "no part begins"),
        (b"--b\r\n" + b"x" * (2 * MAX_HEAD_BYTES), "endless header"),
    ],
)
def test_broken_bodies_are_refused(body: bytes, words: str) -> None:
    with pytest.raises(RemoteError, match=words):
        read(iter([body]))


def test_file_is_sent_as_one_part_of_the_length_it_says(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    counted: list[int] = []
    body = OneFileBody(tmp_path / "a", "b", counted.append)
    sent = b"".join(body)
    assert len(body) == len(sent)
    assert read(iter([sent])) == [({"content-type": "application/dicom"}, b"content")]
    assert counted == [7]
