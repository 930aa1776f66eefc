"""The header of NRRD: spaces, spacings and encodings, and what makes no sense."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsam.errors import GeometryError, InputFileError
from medsam.io.formats import read_image

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


PLACE = "space: {}\nspace directions: (0.5,0,0) (0,0.7,0) (0,0,3)\nspace origin: (10,20,30)\n"


def save(path: Path, fields: str = "", *, encoding: str = "raw", pixels: bytes = VALUES.tobytes()) -> Path:
    header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: {encoding}\n{fields}\n"
    path.write_bytes(header.encode() + pixels)
    return path


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("right-anterior-inferior", (-1, -1, -1)),
        ("scanner-xyz", (1, 1, 1)),
    ],
)
def test_every_space_is_turned_into_lps(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    grid = read_image(save(tmp_path / "a.nrrd", PLACE.format(space))).grid
    there = np.array([10 + 3 * 0.5, 20 + 2 * 0.7, 30 + 3]) * signs
    assert np.allclose(grid.to_world(np.array([[1, 2, 3]]))[0], there)


@pytest.mark.parametrize("space", ["left-right-superior", "nowhere", "superior"])
def test_a_space_that_cannot_be_placed_is_refused(tmp_path: Path, space: str) -> None:
    with pytest.raises((GeometryError, InputFileError)):
        read_image(save(tmp_path / "a.nrrd", PLACE.format(space)))


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("raw", bytes),
        ("gzip", gzip.compress),
        ("bz2", bz2.compress),
        ("txt", lambda data: " ".join(map(str, data)).encode()),
    ],
)
def test_every_encoding_gives_the_values(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    path = save(tmp_path / "a.nrrd", encoding=encoding, pixels=pack(VALUES.tobytes()))
    assert np.array_equal(read_image(path).values, VALUES)


def test_spacings_alone_are_a_spacing_and_nothing_is_unknown(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.nrrd", "spacings: 0.5 0.7 3\n")).grid.spacing_mm == (3, 0.7, 0.5)
    assert read_image(save(tmp_path / "a.nrrd", "spacings: nan nan nan\n")).grid.spacing_mm is None
    assert read_image(save(tmp_path / "a.nrrd")).grid.spacing_mm is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b.replace(b"sizes: 4 3 2", b"sizes: 4 3 9"), "declares 108 bytes"),
        (lambda b: b.replace(b"sizes: 4 3 2", b"sizes: 4 3 -2"), "sizes"),
        (lambda b: b.replace(b"sizes: 4 3 2", b"sizes: 4 3 x"), "damaged header"),
        (lambda b: b.replace(b"type: uint8", b"type: quaternion"), "quaternion"),
        (lambda b: b.replace(b"type: uint8", b"type: int16"), "byte order"),
        (lambda b: b.replace(b"encoding: raw", b"encoding: hex"), "hex"),
        (lambda b: b.replace(b"NRRD0004", b"NRRD0004\nbyte skip: -9"), "skips"),
    ],
)
def test_headers_that_make_no_sense_are_refused(tmp_path: Path, change: Callable[[bytes], bytes], words: str) -> None:
    path = save(tmp_path / "a.nrrd")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputFileError, match=words):
        read_image(path)
