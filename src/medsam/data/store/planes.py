"""Planes of one size in one zarr v3 array of one shard: written and read directly, plain zarr to everybody else.

A shard is the compressed chunks one after the other, then (offset, bytes) of each and a CRC-32C of that table. zarr-python
reads and writes the same bytes through an event loop: six times the cost of a read, twice that of a write (docs/scale.md).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsam.errors import DataError

LEVEL = 1  # of zstd; 3 packs CT no better and JPEG grey 3 % better, at 2.6 to 3 times the time (docs/scale.md)
MAX_PLANE = 1 << 30  # pixels of a picture, which is checked before memory is asked for
_ENTRY = 16
_CRC = 4


def write_planes(folder: Path, planes: Sequence[np.ndarray], sides: tuple[int, int]) -> None:
    """Write planes of one dtype, padded with 0 to the same sides, as an array of one chunk a plane.

    Raises:
        OSError: the disk refused.
    """
    import google_crc32c
    import zarr
    from numcodecs import Zstd  # type: ignore[import-untyped]
    from zarr.codecs import ZstdCodec

    inner = (*sides, *planes[0].shape[2:])
    shape = (len(planes), *inner)
    zarr.create_array(
        folder,
        shape=shape,
        dtype=planes[0].dtype,
        chunks=(1, *inner),
        shards=shape,
        compressors=[ZstdCodec(level=LEVEL)],
    )
    file = _shard_file(folder, len(shape))
    file.parent.mkdir(parents=True)
    codec, table, offset = Zstd(level=LEVEL), np.zeros((len(planes), 2), dtype="<u8"), 0
    with file.open("wb") as out:
        for row, plane in zip(table, planes, strict=True):
            padded = np.zeros(inner, dtype=plane.dtype)
            padded[: plane.shape[0], : plane.shape[1]] = plane
            packed = codec.encode(padded)
            row[:] = offset, len(packed)
            offset += out.write(packed)
        index = table.tobytes()
        out.write(index + int(google_crc32c.value(index)).to_bytes(_CRC, "little"))


class Planes:
    """An array of write_planes, open for reading; safe to read from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open the file and read its table.

        Raises:
            DataError: missing, damaged, or not written by write_planes.
        """
        import google_crc32c

        try:
            self.shape, self.dtype = _parse_header((folder / "zarr.json").read_text(encoding="utf-8"))
            self._file = _shard_file(folder, len(self.shape)).open("rb")
        except (OSError, ValueError, ArithmeticError, TypeError, LookupError, RecursionError) as error:
            raise _damaged(folder, type(error).__name__) from None
        tail = self.shape[0] * _ENTRY + _CRC
        size = os.fstat(self._file.fileno()).st_size
        content = os.pread(self._file.fileno(), tail, size - tail) if tail <= size else b""
        if len(content) != tail or google_crc32c.value(content[:-_CRC]) != int.from_bytes(content[-_CRC:], "little"):
            raise _damaged(folder, "its table does not fit its checksum")
        self._size = size
        self._table = np.frombuffer(content[:-_CRC], dtype="<u8").reshape(-1, 2)
        self._folder = folder

    def __getitem__(self, index: int) -> np.ndarray:
        """Plane `index`, padded as it was written.

        Raises:
            DataError: the chunk is damaged.
        """
        from numcodecs import Zstd

        offset, length = (int(value) for value in self._table[index])
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            packed = os.pread(self._file.fileno(), min(length, self._size), offset)
            if _unpacked_size(packed) != size:  # asked before memory is given
                raise _damaged(self._folder, f"plane {index} has another size")
            return np.frombuffer(Zstd().decode(packed), dtype=self.dtype).reshape(self.shape[1:])
        except (OSError, ValueError, RuntimeError, OverflowError, IndexError) as error:
            raise _damaged(self._folder, f"plane {index}: {type(error).__name__}") from None

    def __del__(self) -> None:
        """Close the file with the object; an array is dropped from a cache at any time."""
        if hasattr(self, "_file"):
            self._file.close()


def _parse_header(text: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of zarr.json.

    Raises:
        ValueError: it is none of write_planes.
    """
    header = json.loads(text)
    shape = tuple(header["shape"])
    whole = all(type(side) is int and side > 0 for side in shape)
    if not whole or len(shape) not in (3, 4) or header["data_type"] not in ("uint8", "uint16"):
        raise ValueError(shape)
    if math.prod(shape[1:]) > MAX_PLANE:
        raise ValueError(shape)
    return shape, np.dtype(header["data_type"]).newbyteorder("<")


def _unpacked_size(packed: bytes) -> int:
    """The size that a zstd frame says it unpacks to; -1 where it says none.

    Source: RFC 8878, 3.1.1.1.
    """
    flags = packed[4]
    single, size = flags >> 5 & 1, (0, 2, 4, 8)[flags >> 6]
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    if size == 0:
        return packed[start] if single else -1
    return int.from_bytes(packed[start : start + size], "little") + (256 if size == 2 else 0)


def _shard_file(folder: Path, axes: int) -> Path:
    return folder.joinpath("c", *["0"] * axes)


def _damaged(folder: Path, what: str) -> DataError:
    name = "/".join(folder.parts[-3:])
    return DataError(
        f"{name} cannot be read ({what})",
        expected="a whole store",
        fix="run medsam store check, remove the shard, and run medsam curate again",
    )
