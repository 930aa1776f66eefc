"""A deflated DICOM file costs its header, whatever follows it."""

from __future__ import annotations

import time
import tracemalloc
import zlib

import numpy as np
import pytest
from dicom_phantom import Phantom, dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medsam import read_image
from medsam.errors import InputFileError


def test_deflate_bomb_is_refused_before_it_is_unfolded(tmp_path):
    ds = dataset(Phantom(), 0)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    raw = (tmp_path / "a.dcm").read_bytes()
    length = int.from_bytes(raw[140:144], "little")
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    plain = b"\x09\x00\x10\x00OB\x00\x00" + (300 << 20).to_bytes(4, "little") + bytes(300 << 20)
    (tmp_path / "a.dcm").write_bytes(raw[: 144 + length] + squeezer.compress(plain) + squeezer.flush())
    start = time.process_time()
    with pytest.raises(InputFileError, match="inflates"):
        read_image(tmp_path / "a.dcm")
    assert time.process_time() - start < 3  # all 300 MiB take longer to take apart than that


def test_only_the_header_of_a_deflated_file_is_unfolded_before_its_size_is_checked(tmp_path):
    """Three bombs: pixels beyond any ratio, pixels in an honest ratio that the file does not have, a huge header."""
    ds = dataset(Phantom(), 0)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    raw = (tmp_path / "a.dcm").read_bytes()
    start = 144 + int.from_bytes(raw[140:144], "little")
    plain = zlib.decompress(raw[start:], -zlib.MAX_WBITS)
    header = plain[: plain.index(b"\xe0\x7f\x10\x00OW")]
    noise = np.random.default_rng(0).bytes(1000)

    def packed(tag: bytes, declared: int, pieces: int) -> bytes:
        squeezer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        begin = header if tag == b"\xe0\x7f\x10\x00OW" else b""
        body = [squeezer.compress(begin + tag + b"\0\0" + declared.to_bytes(4, "little"))]
        body += [squeezer.compress(noise + bytes(99_000)) for _ in range(pieces)]
        return raw[:start] + b"".join(body) + squeezer.flush()

    bombs = {
        r"to 3\.0 GiB or more": packed(b"\xe0\x7f\x10\x00OW", 3 << 30, 10),
        r"truncated: 19\d* of 299999998 bytes": packed(b"\xe0\x7f\x10\x00OW", 299_999_998, 1999),
        r"at most 128.0 MiB before its pixels": packed(b"\x09\x00\x10\x00OB", 400_000_000, 4000),
    }
    for words, content in bombs.items():
        (tmp_path / "a.dcm").write_bytes(content)
        tracemalloc.start()
        with pytest.raises(InputFileError, match=words):
            read_image(tmp_path / "a.dcm")
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
        tracemalloc.stop()
