"""A pickle is held to what lies in its file before anything is built."""

from __future__ import annotations

import collections
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from medsam.errors import CheckpointError
from medsam.models.weights.pickle_sizes import check_pickle
from medsam.models.weights.safe_load import load_pickle

FOUR = torch.arange(4, dtype=torch.float32)


def rewrite(source: Path, target: Path, old: bytes, new: bytes, *, compression: int = zipfile.ZIP_STORED) -> None:
    """Copy a zipped checkpoint with other bytes in its instructions."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", compression) as copy:
        for entry in archive.infolist():
            data = archive.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert old in data
                data = data.replace(old, new)
            copy.writestr(entry.filename, data)


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    torch.save({"a": FOUR, "b": FOUR.reshape(2, 2).t()}, tmp_path / "honest.pth")
    return tmp_path / "honest.pth"


@pytest.mark.parametrize("zipped", [True, False])
def test_honest_files_of_every_kind_pass(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pth"
    content = collections.OrderedDict(
        whole=FOUR, view=FOUR[1:], turned=FOUR.reshape(2, 2).t(), empty=torch.zeros(0, 3), half=FOUR.half(),
        spread=torch.zeros(1).expand(1, 1), parameter=torch.nn.Parameter(FOUR), number=3, words=["a", None, 2.5, True],
    )  # fmt: skip
    torch.save({"model": content, "epoch": 7, "seed": 2**40}, path, _use_new_zipfile_serialization=zipped)
    check_pickle(path, is_zip=zipped)
    loaded = load_pickle(path)
    assert isinstance(loaded, dict)
    assert torch.equal(loaded["model"]["turned"], FOUR.reshape(2, 2).t())


def test_a_storage_larger_than_its_bytes_is_refused(honest: Path, tmp_path: Path) -> None:
    rewrite(honest, tmp_path / "a.pth", b"K\x04", b"J" + struct.pack("<i", 1_500_000_000))
    with pytest.raises(CheckpointError, match=r"a storage of 6,000,000,000 bytes where 16 lie"):
        load_pickle(tmp_path / "a.pth")


def test_a_tensor_larger_than_its_storage_is_refused(honest: Path, tmp_path: Path) -> None:
    rewrite(honest, tmp_path / "a.pth", b"K\x02K\x02", b"K\x02J" + struct.pack("<i", 1_500_000_000))
    with pytest.raises(CheckpointError, match=r"a tensor of 3,000,000,000 values over 4"):
        load_pickle(tmp_path / "a.pth")


def test_a_storage_of_an_old_file_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": FOUR}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"K\x04N") == 1
    path.write_bytes(data.replace(b"K\x04N", b"J" + struct.pack("<i", 1_500_000_000) + b"N"))
    with pytest.raises(CheckpointError, match=r"declares 6,000,000,000 bytes in a file of"):
        load_pickle(path)


def test_compressed_parts_are_refused(honest: Path, tmp_path: Path) -> None:
    rewrite(honest, tmp_path / "a.pth", b"K\x04", b"K\x04", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="its parts are compressed"):
        load_pickle(tmp_path / "a.pth")


def old_file(path: Path, instructions: bytes) -> None:
    torch.save({}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"\x80\x02}q\x00.") >= 1  # the object itself
    path.write_bytes(data.replace(b"\x80\x02}q\x00.", b"\x80\x02" + instructions + b".", 1))


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        (b"c__builtin__\nbytearray\n" + b"J\x00\x00\x00\x60\x85R", r"wants to run code \(__builtin__.bytearray\)"),
        (b"ctorch\nFloatTensor\n" + b"J\x00\x00\x00\x60\x85R", r"wants to run code \(torch.FloatTensor\)"),
        (b"(" + b"\x8f" * 3_000_000 + b"l", r"more than 2,097,152 bytes of instructions"),
        (b"(" * 3_000_000, r"more than 2,097,152 bytes of instructions"),
    ],
)
def test_instructions_that_only_take_memory_are_refused(tmp_path: Path, instructions: bytes, said: str) -> None:
    old_file(tmp_path / "a.pth", instructions)
    with pytest.raises(CheckpointError, match=said):
        load_pickle(tmp_path / "a.pth")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_as_many_instructions_as_are_allowed_take_little_memory(honest: Path, tmp_path: Path) -> None:
    """Most of what a megabyte of instructions can build: a dictionary for every four bytes of them."""
    build = b"h\xf0)R" * ((1 << 18) - 64)
    head = b"\x80\x02ccollections\nOrderedDict\nq\xf0]("
    with zipfile.ZipFile(honest) as archive, zipfile.ZipFile(tmp_path / "a.pth", "w") as copy:
        for entry in archive.infolist():
            data = head + build + b"e." if entry.filename.endswith("data.pkl") else archive.read(entry)
            copy.writestr(entry.filename, data)
    code = f"""
from pathlib import Path
from medsam.models.weights.safe_load import load_pickle
load_pickle(Path({str(tmp_path / "a.pth")!r}))
status = Path("/proc/self/status").read_text()  # the peak of getrusage would be that of the process it was forked from
print(status.split("VmHWM:")[1].split()[0])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 1 << 30
