"""Planes of one size in one zarr v3 array of one shard: written and read directly, plain zarr to everybody else.

A shard is the compressed chunks one after the other, then (offset, bytes) of each and a CRC-32C of that table. zarr-python
reads and writes the same bytes through an event loop: six times the cost of a read, twice that of a write (docs/scale.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medsam.errors import DataError

LEVEL = 1  # of zstd; 3 packs CT no better and JPEG grey 3 % better, at 2.6 to 3 times the time (docs/scale.md)
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
            header = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
            self.shape, self.dtype = tuple(header["shape"]), np.dtype(header["data_type"]).newbyteorder("<")
            self._file = _shard_file(folder, len(self.shape)).open("rb")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(folder, type(error).__name__) from None
        tail = self.shape[0] * _ENTRY + _CRC
        size = os.fstat(self._file.fileno()).st_size
        content = os.pread(self._file.fileno(), tail, max(size - tail, 0))
        if len(content) != tail or google_crc32c.value(content[:-_CRC]) != int.from_bytes(content[-_CRC:], "little"):
            raise _damaged(folder, "its table does not fit its checksum")
        self._table = np.frombuffer(content[:-_CRC], dtype="<u8").reshape(-1, 2)
        self._folder = folder

    def __getitem__(self, index: int) -> np.ndarray:
        """Plane `index`, padded as it was written.

        Raises:
            DataError: the chunk is damaged.
        """
        from numcodecs import Zstd

        offset, length = (int(value) for value in self._table[index])
        try:
            content = Zstd().decode(os.pread(self._file.fileno(), length, offset))
            return np.frombuffer(content, dtype=self.dtype).reshape(self.shape[1:])
        except (OSError, ValueError, RuntimeError) as error:
            raise _damaged(self._folder, f"plane {index}: {type(error).__name__}") from None

    def __del__(self) -> None:
        """Close the file with the object; an array is dropped from a cache at any time."""
        if hasattr(self, "_file"):
            self._file.close()


def _shard_file(folder: Path, axes: int) -> Path:
    return folder.joinpath("c", *["0"] * axes)


def _damaged(folder: Path, what: str) -> DataError:
    name = "/".join(folder.parts[-3:])
    return DataError(
        f"{name} cannot be read ({what})",
        expected="a whole store",
        fix="run medsam store check, remove the shard, and run medsam curate again",
    )
