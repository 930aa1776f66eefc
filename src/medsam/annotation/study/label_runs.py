"""Label maps as runs, slice by slice: what a database keeps of a mask, and what a server holds of it.

A change makes new runs for the slices that it touches; all others are shared with the map before, packed bytes included,
so that a prompt on one slice costs what one slice costs.

Shape legend: D, H, W the axes of the label map; slices lie across the first.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError

MAGIC, WHOLE = b"MLR2", b"MLR1"  # slices packed one by one; what older versions wrote: the whole map in one
HEAD = struct.Struct("<4sIIIQ")  # magic, D, H, W; slices that hold a label (MLR1: runs)
MAX_VOXELS = 1 << 33
MAX_PIXELS = (1 << 32) - 1  # of a slice
MAX_SLICES = 1 << 20
RUN_BYTES = 6  # a label of 16 bits and a length of 32
Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # half-open, along D, H and W


@dataclass(frozen=True, eq=False)
class SliceRuns:
    """One slice as runs along its rows; it never changes.

    Args:
        labels: Of each run, uint16.
        ends: One past the last pixel of each run, counted row by row, int64.
    """

    labels: NDArray[np.uint16] = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, labels_HW: NDArray[np.integer]) -> SliceRuns:
        """The runs of a slice whose labels 16 bits hold."""
        flat = np.ascontiguousarray(labels_HW, dtype=np.uint16).reshape(-1)
        ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
        return cls(flat[ends - 1], ends)

    @classmethod
    def unpack(cls, packed: bytes, pixels: int) -> SliceRuns:
        """What `packed` was made from.

        Raises:
            DataError: damaged.
        """
        body = _unzip(packed, pixels * RUN_BYTES)
        count = len(body) // RUN_BYTES
        made = cls(*_runs_in(body, count, pixels))
        vars(made)["packed"] = packed
        return made

    @cached_property
    def packed(self) -> bytes:
        """Labels, then lengths, compressed; equal slices give equal bytes."""
        lengths = np.diff(self.ends, prepend=0)
        return zlib.compress(self.labels.astype("<u2", copy=False).tobytes() + lengths.astype("<u4").tobytes(), 6)

    @cached_property
    def ids(self) -> frozenset[int]:
        """The labels that it holds, without background."""
        return frozenset(np.unique(self.labels).tolist()) - {0}

    def at(self, pixels: NDArray[np.integer]) -> NDArray[np.uint16]:
        """The labels of some pixels, which are counted row by row."""
        return self.labels[np.searchsorted(self.ends, pixels, side="right")]

    def unfold(self, shape_HW: tuple[int, int]) -> NDArray[np.uint16]:
        """The slice, uint16."""
        return np.repeat(self.labels, np.diff(self.ends, prepend=0)).reshape(shape_HW)

    def bounds(self, label: int, width: int) -> tuple[int, int, int, int]:
        """First row, last row, first column and last column of a label that it holds."""
        own = self.labels == label
        first, last = (self.ends - np.diff(self.ends, prepend=0))[own], self.ends[own] - 1
        wraps = first // width != last // width  # such a run reaches both sides of the slice
        columns = np.where(wraps, 0, first % width).min(), np.where(wraps, width - 1, last % width).max()
        return int(first[0] // width), int(last[-1] // width), int(columns[0]), int(columns[1])

    def replace(self, label: int, other: int) -> SliceRuns:
        """The slice with another label in a label's place."""
        labels = np.where(self.labels == label, np.uint16(other), self.labels)
        last = np.append(labels[1:] != labels[:-1], True)  # runs that are alike now become one
        return SliceRuns(labels[last], self.ends[last])

    def same_as(self, other: SliceRuns) -> bool:
        """Whether it holds the same labels."""
        return self is other or (np.array_equal(self.ends, other.ends) and np.array_equal(self.labels, other.labels))


@dataclass(frozen=True, eq=False)
class LabelRuns:
    """A label map that never changes.

    Args:
        shape: (D, H, W).
        slices: Along D.
    """

    shape: tuple[int, int, int]
    slices: tuple[SliceRuns, ...] = field(repr=False)

    @classmethod
    def empty(cls, shape_DHW: tuple[int, int, int]) -> LabelRuns:
        """A map without a label."""
        return cls(shape_DHW, (_background(shape_DHW),) * shape_DHW[0])

    @classmethod
    def of(cls, labels_DHW: NDArray[np.integer], like: LabelRuns | None = None) -> LabelRuns:
        """The runs of a label map.

        Args:
            labels_DHW: Labels from 0 to 65535.
            like: A map of the same shape; slices that are equal there are shared with it.

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
        depth, height, width = labels_DHW.shape
        if height * width > MAX_PIXELS or depth > MAX_SLICES:
            raise DataError(
                f"a mask of {depth} x {height} x {width}", expected="2^20 slices of 2^32 pixels at most", fix="cut it"
            )
        before = cls.empty((depth, height, width)) if like is None else like
        nothing = _background(before.shape)
        made = (SliceRuns.of(plane) if plane.any() else nothing for plane in labels_DHW)
        pairs = zip(before.slices, made, strict=True)
        return cls(before.shape, tuple(old if old.same_as(new) else new for old, new in pairs))

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The labels that it holds, ascending, without background."""
        return tuple(sorted(frozenset().union(*(one.ids for one in self.slices))))

    def unfold(self) -> NDArray[np.uint16]:
        """The whole map: (D, H, W), uint16."""
        labels = np.zeros(self.shape, np.uint16)
        for k, one in enumerate(self.slices):
            if one.ids:
                labels[k] = one.unfold(self.shape[1:])
        return labels

    def plane(self, axis: int, index: int) -> NDArray[np.uint16]:
        """One slice across an axis, as numpy.take gives it."""
        if axis == 0:
            return self.slices[index].unfold(self.shape[1:])
        _, height, width = self.shape
        pixels = index * width + np.arange(width) if axis == 1 else index + width * np.arange(height)
        plane = np.zeros((self.shape[0], len(pixels)), np.uint16)
        for k, one in enumerate(self.slices):
            if one.ids:
                plane[k] = one.at(pixels)
        return plane

    def with_plane(self, axis: int, index: int, labels: NDArray[np.integer]) -> LabelRuns:
        """The same map with another slice across an axis; the slices that it does not change are shared.

        Args:
            labels: As `plane` gives them.
        """
        slices = list(self.slices)
        if axis == 0:
            slices[index] = SliceRuns.of(labels)
        else:
            for k in np.flatnonzero((self.plane(axis, index) != labels).any(axis=1)).tolist():
                changed = slices[k].unfold(self.shape[1:])
                np.moveaxis(changed, axis - 1, 0)[index] = labels[k]
                slices[k] = SliceRuns.of(changed)
        return LabelRuns(self.shape, tuple(slices))

    def replace(self, label: int, other: int) -> LabelRuns:
        """The same map with another label in a label's place; slices without it are shared."""
        return LabelRuns(
            self.shape, tuple(one.replace(label, other) if label in one.ids else one for one in self.slices)
        )

    def changed(self, before: LabelRuns) -> list[int]:
        """The slices that differ from those of a map of the same shape."""
        pairs = zip(self.slices, before.slices, strict=True)
        return [k for k, (one, old) in enumerate(pairs) if not one.same_as(old)]

    def bounds(self, label: int) -> Bounds:
        """Where a label that it holds lies."""
        held = [k for k, one in enumerate(self.slices) if label in one.ids]
        sides = np.array([self.slices[k].bounds(label, self.shape[2]) for k in held])
        (top, _, left, _), (_, bottom, _, right) = sides.min(axis=0).tolist(), sides.max(axis=0).tolist()
        return (held[0], held[-1] + 1), (top, bottom + 1), (left, right + 1)

    def where(self, label: int, bounds: Bounds) -> NDArray[np.bool_]:
        """Where a label lies within bounds."""
        (z0, z1), rows, columns = bounds
        window = slice(*rows), slice(*columns)
        return np.stack([one.unfold(self.shape[1:])[window] == label for one in self.slices[z0:z1]])


def encode_runs(labels: NDArray[np.integer] | LabelRuns) -> bytes:
    """Pack a label map; equal maps give equal bytes.

    Raises:
        DataError: as LabelRuns.of.
    """
    runs = labels if isinstance(labels, LabelRuns) else LabelRuns.of(labels)
    held = {k: one.packed for k, one in enumerate(runs.slices) if one.ids}
    table = np.array([(k, len(packed)) for k, packed in held.items()], "<u4").tobytes()
    return HEAD.pack(MAGIC, *runs.shape, len(held)) + table + b"".join(held.values())


def decode_runs(data: bytes, like: LabelRuns | None = None) -> LabelRuns:
    """Unpack what encode_runs packed, in this version or an older one.

    Args:
        like: Slices that are packed alike there are shared with it.

    Raises:
        DataError: damaged, or larger than a mask can be.
    """
    if len(data) < HEAD.size:
        raise _damaged()
    magic, depth, height, width, count = HEAD.unpack_from(data)
    shape, pixels = (depth, height, width), height * width
    sound = 1 <= depth <= MAX_SLICES and 1 <= pixels <= MAX_PIXELS and depth * pixels <= MAX_VOXELS
    if magic not in (MAGIC, WHOLE) or not sound:
        raise _damaged()
    if magic == WHOLE:
        return LabelRuns(shape, _unpack_whole(data, depth, pixels, count))
    start = HEAD.size + 8 * count
    if count > depth or len(data) < start:
        raise _damaged()
    table = np.frombuffer(data, "<u4", offset=HEAD.size, count=2 * count).reshape(count, 2).astype(np.int64)
    places, ends = table[:, 0].tolist(), (start + table[:, 1].cumsum()).tolist()
    if len(data) != (ends[-1] if ends else start) or places != sorted(set(places)) or (places and places[-1] >= depth):
        raise _damaged()
    nothing = LabelRuns.empty(shape)
    slices = list(nothing.slices)
    known = like.slices if like is not None and like.shape == shape else nothing.slices
    for k, begin, end in zip(places, [start, *ends], ends, strict=False):
        packed = data[begin:end]
        slices[k] = known[k] if known[k].packed == packed else SliceRuns.unpack(packed, pixels)
    return LabelRuns(shape, tuple(slices))


def _unpack_whole(data: bytes, depth: int, pixels: int, count: int) -> tuple[SliceRuns, ...]:
    """Slices of a map that was packed in one: all labels of its runs, then all lengths."""
    if count > depth * pixels:
        raise _damaged()
    labels, ends = _runs_in(_unzip(data[HEAD.size :], count * RUN_BYTES), count, depth * pixels)
    borders = pixels * np.arange(depth + 1)
    first = np.searchsorted(ends, borders[:-1], side="right")
    last = np.searchsorted(ends, borders[1:], side="left")
    parts = (
        (labels[a : b + 1], ends[a : b + 1] - k * pixels) for k, (a, b) in enumerate(zip(first, last, strict=True))
    )
    return tuple(SliceRuns(own, np.minimum(end, pixels)) for own, end in parts)


def _runs_in(body: bytes, count: int, pixels: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Labels and ends of runs that fill a number of pixels."""
    if not count or len(body) != count * RUN_BYTES:
        raise _damaged()
    lengths = np.frombuffer(body, "<u4", offset=2 * count, count=count)
    ends = lengths.cumsum(dtype=np.int64)
    if ends[-1] != pixels or not lengths.all():
        raise _damaged()
    return np.frombuffer(body, "<u2", count=count).astype(np.uint16, copy=False), ends


def _background(shape_DHW: tuple[int, int, int]) -> SliceRuns:
    return SliceRuns(np.zeros(1, np.uint16), np.array([shape_DHW[1] * shape_DHW[2]]))


def _unzip(packed: bytes, most_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(packed, most_bytes + 1)
    except zlib.error:
        raise _damaged() from None
    if len(body) > most_bytes or not stream.eof or stream.unused_data:
        raise _damaged()
    return body


def _damaged() -> DataError:
    return DataError("a mask of the project that is damaged", expected="runs as written", fix="restore a backup")
