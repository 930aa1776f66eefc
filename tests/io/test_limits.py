"""What an untrusted file may cost: sizes, ratios, memory, and files that are none."""

from __future__ import annotations

import os
import resource
import zlib
from pathlib import Path

import numpy as np
import pytest
from fuzzing import in_child

import medsam
from medsam.errors import InputFileError
from medsam.io import limits
from medsam.io.formats import check_writable
from medsam.io.limits import Encoding, decode, measure_memory, refuse_oversized, refuse_without_memory

SMALL, HERE = limits.SMALL_BYTES, Path("a.raw")


@pytest.mark.parametrize(
    ("declared", "stored", "encoding", "words"),
    [
        (100, 100, "raw", None),
        (101, 100, "raw", "all the pixels"),
        (16_000_000, 10_000, "zlib", None),  # a blank 1-bit mask of 4000 x 4000
        (SMALL, 1, "zlib", None),
        (SMALL + 1, 60_000, "zlib", "all the pixels"),
        (SMALL + 1, 80_000, "zlib", None),
        (2 << 30, 5 << 20, "gzip", "at most 200:1"),
        (9 << 30, 9 << 30, "raw", "at most 8.0 GiB"),
    ],
)
def test_what_a_header_declares_is_held_against_what_the_file_has(
    declared: int, stored: int, encoding: Encoding, words: str | None
) -> None:
    if words is None:
        refuse_oversized(HERE, declared, stored, encoding=encoding)
        return
    with pytest.raises(InputFileError, match=words):
        refuse_oversized(HERE, declared, stored, encoding=encoding)


def test_a_blank_mask_of_one_bit_is_read(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("1", (4000, 4000))
    picture.putpixel((7, 5), 1)
    picture.save(tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size < 10_000
    assert np.argwhere(medsam.read_mask(tmp_path / "m.png").labels).tolist() == [[0, 5, 7]]


def limited() -> str:
    """In a child: the limit that is set for a process counts, not the machine's memory."""
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    assert measure_memory() == 3 << 30
    refuse_without_memory(HERE, 3 << 30)
    try:
        refuse_oversized(HERE, 4 << 30, 4 << 30)
    except InputFileError as error:
        return str(error)
    return "read"


def test_what_the_machine_cannot_hold_is_refused_before_it_is_taken() -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < measure_memory() <= machine
    with pytest.raises(InputFileError, match="memory that there is"):
        refuse_without_memory(HERE, machine + 1)
    assert "expected at most the 3.0 GiB of memory" in in_child(limited)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".png", ".dcm", ".json", ".npz"])
def test_a_pipe_is_refused_at_once_by_every_reader(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"a{suffix}")
    for read in (medsam.read_image, medsam.read_mask):
        with pytest.raises(InputFileError, match="a pipe, socket or device"):
            read(tmp_path / f"a{suffix}")


def test_a_pipe_is_no_source_of_a_mask(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputFileError, match="a pipe, socket or device"):
        check_writable(tmp_path / "m.png", reference=tmp_path / "a.png")


def test_a_stream_gives_its_bytes_and_never_more() -> None:
    packed = zlib.compress(bytes(1000))
    assert decode(packed, 1000, HERE, "zlib").tolist() == [0] * 1000
    with pytest.raises(InputFileError, match="truncated"):
        decode(packed, 1001, HERE, "zlib")
