"""Label maps as compressed runs: what a database keeps of a mask."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError

MAGIC = b"MLR1"
HEAD = struct.Struct("<4sIIIQ")  # magic, D, H, W, runs
MAX_VOXELS = 1 << 33
RUN_BYTES = 6  # a label of 16 bits and a length of 32


def encode_runs(labels_DHW: NDArray[np.integer]) -> bytes:
    """Pack a label map as runs along its flattened order, compressed; equal maps give equal bytes.

    Args:
        labels_DHW: Labels from 0 to 65535.

    Raises:
        DataError: not three axes, or a label that 16 bits do not hold.
    """
    certain = labels_DHW.dtype in (np.uint8, np.uint16) or not labels_DHW.size  # these hold nothing else
    if labels_DHW.ndim != 3 or not (certain or 0 <= int(labels_DHW.min()) <= int(labels_DHW.max()) <= 65535):
        raise DataError(
            f"a mask of shape {labels_DHW.shape} and type {labels_DHW.dtype}",
            expected="(D, H, W) with labels from 0 to 65535",
            fix="number the objects from 1",
        )
    flat = np.ascontiguousarray(labels_DHW, dtype=np.uint16).reshape(-1)
    starts = _starts(flat)
    lengths = np.diff(np.append(starts, flat.size))
    pieces = -(-lengths // 0xFFFFFFFF)  # a run longer than 32 bits is kept in pieces
    values = np.repeat(flat[starts].astype("<u2", copy=False), pieces)
    if (pieces > 1).any():
        lengths = np.concatenate([_pieces(int(length)) for length in lengths])
    body = values.tobytes() + lengths.astype("<u4").tobytes()
    return HEAD.pack(MAGIC, *labels_DHW.shape, len(values)) + zlib.compress(body, 6)


def _starts(flat: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Where a label differs from the one before, and 0; four labels are compared at once, as most of a mask is one run."""
    whole = flat.size // 4 * 4
    words = flat[:whole].view(np.uint64)
    changed = np.flatnonzero(words[1:] != words[:-1]) + 1
    first = np.concatenate([[0], changed]) if whole else changed  # words that differ from the one before
    mixed = (flat[:whole].reshape(-1, 4)[first] != flat[:whole:4][first, None]).any(axis=1)
    again = np.append(first[1:], len(words))[mixed] - first[mixed] - 1  # copies of a word of several labels change too
    copies = np.repeat(first[mixed], again) + 1 + np.arange(again.sum()) - np.repeat(np.cumsum(again) - again, again)
    candidates = (4 * np.concatenate([first, copies])[:, None] + np.arange(4)).reshape(-1)
    candidates = np.unique(np.concatenate([candidates, np.arange(whole, flat.size)]))
    kept = (candidates == 0) | (flat[candidates] != flat[candidates - 1])
    starts: NDArray[np.int64] = candidates[kept].astype(np.int64)
    return starts


def _pieces(length: int) -> NDArray[np.int64]:
    whole, rest = divmod(length, 0xFFFFFFFF)
    return np.array([0xFFFFFFFF] * whole + ([rest] if rest else []), dtype=np.int64)


def decode_runs(data: bytes) -> NDArray[np.uint16]:
    """Unpack what encode_runs packed.

    Returns:
        Labels (D, H, W), uint16.

    Raises:
        DataError: damaged, or larger than a mask can be.
    """
    damaged = DataError("a mask of the project that is damaged", expected="runs as written", fix="restore a backup")
    if len(data) < HEAD.size:
        raise damaged
    magic, depth, height, width, count = HEAD.unpack_from(data)
    voxels = depth * height * width
    if magic != MAGIC or voxels > MAX_VOXELS or count > voxels:
        raise damaged
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data[HEAD.size :], count * RUN_BYTES + 1)
    except zlib.error:
        raise damaged from None
    if len(body) != count * RUN_BYTES or not stream.eof:
        raise damaged
    values = np.frombuffer(body, dtype="<u2", count=count)
    lengths = np.frombuffer(body, dtype="<u4", offset=2 * count, count=count)
    if int(lengths.sum(dtype=np.uint64)) != voxels:
        raise damaged
    return np.repeat(values, lengths).reshape(depth, height, width).astype(np.uint16, copy=False)
