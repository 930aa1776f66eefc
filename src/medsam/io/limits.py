"""What an untrusted file may cost: the pixels its header declares against the bytes it has, before any are read."""

from __future__ import annotations

import bz2
import os
import stat
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError

MAX_BYTES = 8 << 30  # of decoded pixels: four times the largest whole-body CT in float32
MAX_RATIO = 200  # decoded to stored bytes; images stay below 20
SMALL_BYTES = (
    64 << 20
)  # up to here no ratio is looked at: blank masks of 1 bit shrink further than deflate's bound on bytes
FREE_BYTES = 1 << 30  # up to here a ratio above MAX_RATIO is let through: empty masks shrink as far as deflate can
DEFLATE_RATIO = 1032  # the most that deflate can reach; more is a lie or a truncated file

Encoding = Literal["raw", "gzip", "zlib", "bzip2"]
MAGIC = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"II+\x00", "a BigTIFF picture"),
    (b"MM\x00+", "a BigTIFF picture"),
    (b"BM", "a BMP picture"),
    (b"GIF8", "a GIF picture"),
    (b"PK\x03\x04", "a zip archive (npz, DICOM zip)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"NRRD", "an NRRD file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF", "an HDF5 file"),
    (b"BZh", "bzip2 data"),
)


def require_file(path: str | Path, expected: str) -> Path:
    """Give the path of a regular file; pipes and devices, which may never end, are not opened.

    Raises:
        InputFileError: it does not exist, or is a folder, a pipe or a device.
    """
    source = Path(path)
    try:
        mode = source.stat().st_mode
    except (OSError, ValueError):  # ValueError: a null in the name
        raise InputFileError(f"{path} does not exist", expected=expected, fix="check the path") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise InputFileError(f"{path} is {kind}", expected=expected, fix="give a file")
    return source


def measure_memory() -> int:
    """Memory that this process may have: of the machine, or less where a limit is set for it."""
    known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else []
    with suppress(ImportError):  # Windows has no such limits
        import resource

        known.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    with suppress(OSError, ValueError):  # no control groups, or "max"
        known.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min((size for size in known if size > 0), default=MAX_BYTES)


def refuse_without_memory(path: Path, needed: int) -> None:
    """Refuse what would need more memory than there is, before any of it is taken.

    Args:
        path: For the message.
        needed: Bytes that the file declares and its reader will hold at once.

    Raises:
        InputFileError: it is more.
    """
    there = measure_memory()
    if needed > there:
        raise InputFileError(
            f"{path} declares {say_size(needed)}",
            expected=f"at most the {say_size(there)} of memory that there is",
            fix="check where the file comes from; crop or split it, or read it on a larger machine",
        )


def read_head(path: Path, count: int) -> bytes:
    """The first bytes of a file.

    Raises:
        InputFileError: no regular file, or it cannot be opened.
    """
    try:
        with require_file(path, "a readable file").open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputFileError(
            f"{path} cannot be read ({error.strerror})",
            expected="a readable file",
            fix="check the path and its permissions",
        ) from None


def describe_content(first: bytes) -> str:
    """What the first bytes of a file look like, in words for an error message."""
    if first[128:132] == b"DICM":  # first: the preamble before it may be the head of a TIFF
        return "a DICOM file"
    for magic, words in MAGIC:
        if first.startswith(magic):
            return words
    if first[344:348] in (b"n+1\x00", b"ni1\x00") or first[4:8] in (b"n+2\x00", b"ni2\x00"):
        return "an uncompressed NIfTI file"
    if first.startswith((b"ObjectType", b"NDims")):
        return "a MetaImage header"
    if not first:
        return "nothing"
    printable = sum(byte in b"\t\n\r" or 32 <= byte < 127 for byte in first)
    return "text" if printable == len(first) else "unknown data"


def explain_other_content(path: Path, first: bytes, expected: str) -> InputFileError:
    """The error for a file that is not what its suffix says; the caller raises it."""
    return InputFileError(
        f"{path} holds {describe_content(first)}",
        expected=expected,
        fix="rename it to its real format, or export it again",
    )


def refuse_oversized(
    path: Path, declared: int, stored: int, *, encoding: Encoding = "raw", max_bytes: int = MAX_BYTES
) -> None:
    """Refuse pixels that the file cannot hold or that nobody should allocate.

    Args:
        path: For the message.
        declared: Bytes of decoded pixels that the header declares.
        stored: Bytes of encoded pixels in the file.
        encoding: How they are stored.
        max_bytes: The most that may be decoded.

    Raises:
        InputFileError: truncated, a decompression bomb, or more than max_bytes.
    """
    ratio = declared / max(stored, 1)
    claim = f"{path} declares {say_size(declared)} of pixels in {say_size(stored)}"
    impossible = {"raw": 1.0, "gzip": DEFLATE_RATIO, "zlib": DEFLATE_RATIO, "bzip2": float("inf")}[encoding]
    if declared > max_bytes:
        raise InputFileError(
            claim,
            expected=f"at most {say_size(max_bytes)}",
            fix="check where the file comes from; crop or split it, or read it in Python with a larger max_bytes=",
        )
    if ratio > impossible and (encoding == "raw" or declared > SMALL_BYTES):
        raise InputFileError(
            claim,
            expected="all the pixels that the header declares",
            fix="the file is truncated or its header is wrong: copy or export it again",
        )
    refuse_without_memory(path, declared)
    if ratio > MAX_RATIO and declared > FREE_BYTES:
        raise InputFileError(
            f"{claim} ({ratio:.0f}:1)",
            expected=f"at most {MAX_RATIO}:1 above {say_size(FREE_BYTES)}",
            fix="check where the file comes from; store it uncompressed if it is yours",
        )


def say_size(count: int) -> str:
    """Bytes for people: "15.0 GiB", "352 bytes"."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def resolve_beside(header: Path, name: str) -> Path:
    """The data file that a detached header names, which must lie in the header's own folder or below.

    Raises:
        InputFileError: an absolute path, a way out of the folder (also by a link), or no such file.
    """
    folder = header.parent.resolve()
    target = (folder / name.replace("\0", "")).resolve()
    if not name or "\0" in name or Path(name).is_absolute() or "\\" in name or not target.is_relative_to(folder):
        raise InputFileError(
            f"{header} keeps its pixels in {name!r}",
            expected="a file beside the header",
            fix="put the data file beside the header and name it there without a folder",
        )
    if not target.is_file():
        raise InputFileError(
            f"{header} keeps its pixels in {name!r}, which is not there",
            expected="the data file beside the header",
            fix="copy both files together",
        )
    return target


def decode(data: bytes, size: int, path: Path, encoding: Encoding) -> NDArray[np.uint8]:
    """Decode exactly `size` bytes of pixels and never more, whatever the stream would unfold to; check its checksum.

    Raises:
        InputFileError: the stream is damaged or ends before `size` bytes.
    """
    whole = _gzip_at_once(data, size) if encoding == "gzip" else None
    if whole is not None:
        return whole
    try:
        if encoding == "raw":
            out = bytearray(memoryview(data)[:size])
        else:
            out = (
                _bunzipped(data, size)
                if encoding == "bzip2"
                else _inflated(data, size, 31 if encoding == "gzip" else 15)
            )
    except (zlib.error, OSError) as error:
        raise InputFileError(
            f"{path} is damaged ({error})",
            expected=f"{say_size(size)} of {encoding} pixels",
            fix="copy or export it again",
        ) from None
    if len(out) < size:
        raise InputFileError(
            f"{path} is truncated: it ends after {say_size(len(out))}",
            expected=f"{say_size(size)} of pixels",
            fix="copy or export it again",
        )
    return np.frombuffer(out, dtype=np.uint8)


def unfold_head(data: bytes, count: int) -> bytes:
    """The first bytes, `count` at most, of what the start of a gzip file unfolds to; nothing where it is damaged."""
    try:
        return zlib.decompressobj(31).decompress(data, count)
    except zlib.error:
        return b""


def compress(data: bytes) -> bytes:
    """Compress pixels of a mask fast; the same pixels give the same bytes."""
    import imagecodecs

    return bytes(imagecodecs.gzip_encode(data, 3))


def _gzip_at_once(data: bytes, size: int) -> NDArray[np.uint8] | None:
    """libdeflate is twice as fast as zlib where the stream is one member of the very size; None otherwise."""
    if len(data) < 18 or int.from_bytes(data[-4:], "little") != size % (1 << 32):
        return None
    import imagecodecs

    out = np.empty(size, dtype=np.uint8)
    try:
        filled = imagecodecs.gzip_decode(data, out=out.data)
    except (imagecodecs.DeflateError, ValueError):
        return None
    return out if len(filled) == size else None


def _inflated(data: bytes, size: int, wbits: int) -> bytearray:
    """Inflate one member after another (bgzip and pigz write several) until `size` bytes are there."""
    out = bytearray()
    while data and len(out) < size:
        member = zlib.decompressobj(wbits)
        out += member.decompress(data, size - len(out))
        _run_out(member, size)
        data = member.unused_data.lstrip(b"\0")
    return out


def _run_out(member: zlib._Decompress, size: int) -> None:
    """Unfold the rest of a member and drop it: its end holds the checksum, which damage in the middle breaks."""
    left = size + SMALL_BYTES
    while not member.eof:
        piece = member.decompress(member.unconsumed_tail, 1 << 20)
        left -= len(piece)
        if not (piece or member.eof) or left < 0:
            raise zlib.error("the stream breaks off before its checksum" if left >= 0 else "it unfolds to far more")


def _bunzipped(data: bytes, size: int) -> bytearray:
    stream = bz2.BZ2Decompressor()
    out = bytearray(stream.decompress(data, size))
    while len(out) < size and not stream.eof:
        piece = stream.decompress(b"", size - len(out))
        if not piece:
            break
        out += piece
    return out
