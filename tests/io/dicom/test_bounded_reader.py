"""A file of millions of items is refused while it is read, in bounded time and memory."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import zlib

import pytest
from dicom_phantom import Phantom, dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medsam.errors import InputFileError
from medsam.io.dicom.bounded_reader import MAX_ITEMS, BoundedReader

EMPTY_ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"
SEQUENCE = b"\x40\x00\x75\x02SQ\0\0"  # RequestAttributesSequence
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def write_bomb(path, count: int, *, deflated: bool, defined: bool) -> None:
    """A slice whose header begins with a sequence of empty items."""
    ds = dataset(Phantom(depth=1), 0)
    ds.save_as(path, enforce_file_format=True)
    data = path.read_bytes()
    start = data.index(b"\x08\x00\x08\x00CS")
    items = EMPTY_ITEM * count
    length = len(items).to_bytes(4, "little") if defined else b"\xff\xff\xff\xff"
    place = data.index(b"\x28\x00\x02\x00US")  # tags ascend up to Rows only by chance; the parser does not mind
    body = data[start:place] + SEQUENCE + length + items + (b"" if defined else END) + data[place:]
    meta = data[:start]
    if deflated:
        old, new = str(ExplicitVRLittleEndian).encode(), str(DeflatedExplicitVRLittleEndian).encode()
        at = meta.index(old)
        head, tail = bytearray(meta[:at]), meta[at + len(old) + len(old) % 2 :]
        padded = new + b"\0" * (len(new) % 2)
        grown = len(padded) - len(old) - len(old) % 2
        head[-2:] = len(padded).to_bytes(2, "little")
        total = int.from_bytes(head[140:144], "little") + grown
        head[140:144] = total.to_bytes(4, "little")
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body, meta = packer.compress(body) + packer.flush(), bytes(head) + padded + tail
    path.write_bytes(meta + body)


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("defined", [False, True])
def test_two_million_items_are_refused_in_one_gib(tmp_path, deflated, defined):
    write_bomb(tmp_path / "bomb.dcm", 1_900_000, deflated=deflated, defined=defined)
    code = f"import medsam; medsam.read_image({str(tmp_path / 'bomb.dcm')!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30)),
    )  # fmt: skip
    assert "InputFileError: bomb.dcm" in done.stderr
    assert "items" in done.stderr or "inflates" in done.stderr


def test_a_thousand_items_are_read(tmp_path):
    from medsam import read_image

    write_bomb(tmp_path / "a.dcm", 1000, deflated=True, defined=False)
    assert read_image(tmp_path / "a.dcm").values.shape == (1, 7, 9)


def test_reader_passes_on_what_it_counts():
    reader = BoundedReader("a.dcm", io.BytesIO(b"12345678rest"))
    assert (reader.read(8), reader.tell(), reader.read()) == (b"12345678", 8, b"rest")
    assert reader.seek(0) == 0
    bomb = BoundedReader("a.dcm", io.BytesIO(EMPTY_ITEM * (MAX_ITEMS + 1)))
    with pytest.raises(InputFileError, match="more than 250000 items"):
        bomb.read(8 * (MAX_ITEMS + 1))
