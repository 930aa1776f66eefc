"""TIFF: 8 and 16 bit, float, RGB, palette; pages of one size are the slices of a stack; see tiff_spacing."""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from medsam.errors import InputFileError, OutputError
from medsam.imaging.image import Grid, Image, Mask
from medsam.io.atomic import replacing
from medsam.io.formats import ReadOptions, WriteOptions
from medsam.io.labels import grid_without_geometry, labels_of, smallest
from medsam.io.limits import head, other_content, refuse_oversized
from medsam.io.raster import grey_labels, on_black
from medsam.io.tiff_spacing import spacing_of

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

Spacing = tuple[float, float, float] | None
QUIET = logging.NullHandler()  # without a handler tifffile tells of every damaged tag on standard error
MAX_PAGES = 100_000
STACKS = "ZIQ"  # tifffile's axes that are slices: depth, pages, unknown
DAMAGED = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    IndexError,
    TypeError,
    EOFError,
    ZeroDivisionError,
    struct.error,
)
MINISWHITE, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 2, 3, 5, 6, (8, 9, 10)
STRAIGHT_ALPHA = 2
TURNS = {1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
         5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False)}  # fmt: skip


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read a TIFF as (D, H, W) or (D, H, W, 3); palettes become colours, alpha is laid on black.

    Raises:
        InputFileError: truncated, damaged, too large, CMYK, a pyramid, or channels or times and none chosen.
    """
    values, colors, spacing_mm = _read(path, options)
    if colors is not None:
        values = np.moveaxis(colors[:, values], 0, -1)
    elif values.dtype == bool:
        values = values.astype(np.uint8) * np.uint8(255)
    return Image(values, Grid(values.shape[:3], spacing_mm))


def read_mask(path: Path, reference: Grid | None, volume: int | None = None) -> Mask:
    """Read labels: palette indices or grey values, where 8-bit 0 and 255 alone mean background and label 1.

    Raises:
        InputFileError: as read_image, or colours.
        GeometryError: another shape than the reference.
    """
    values, colors, spacing_mm = _read(path, ReadOptions(volume=volume))
    values = values if colors is not None else grey_labels(values)
    labels = labels_of(values, path)
    grid = grid_without_geometry(labels.shape, reference, path)
    return Mask(labels, grid if reference is not None else Grid(grid.shape, spacing_mm))


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write labels as grey values, one page per slice, deflated.

    Raises:
        OutputError: a label above 65535, or the disk refused.
    """
    from tifffile import imwrite

    del options
    labels, ids = smallest(mask.labels), mask.ids
    if ids and ids[-1] > 65535:
        raise OutputError(
            f"label {ids[-1]} for a TIFF", expected="labels up to 65535", fix="renumber them, or write .nii.gz"
        )
    if ids == (255,):
        labels = labels.astype(np.uint16)  # 8-bit 0 and 255 would be read as 0 and 1
    with replacing(path) as temporary:
        imwrite(temporary, labels, photometric="minisblack", compression="zlib", metadata=None)


def _read(path: Path, options: ReadOptions) -> tuple[np.ndarray, np.ndarray | None, Spacing]:
    """Values (D, H, W[, 3]) upright, with white as high; the palette as (3, N) uint8 if there is one; their spacing."""
    from tifffile import TiffFile

    logging.getLogger("tifffile").addHandler(QUIET)
    first = head(path, 540)
    if first[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise other_content(path, first, "a TIFF picture")
    try:
        _refuse_endless(path, first)
        with TiffFile(path) as file:
            series = _only_series(file, path)
            page = series.keyframe
            _refuse_unreadable(page, path)
            declared = int(np.prod(series.shape, dtype=object)) * np.dtype(series.dtype).itemsize
            stored = _stored_bytes(file, path)
            encoding = "raw" if page.compression == 1 and page.bitspersample >= 8 else "bzip2"
            refuse_oversized(path, declared, stored, encoding=encoding, max_bytes=options.max_bytes)  # type: ignore[arg-type]
            values = _opaque(_stack(series.asarray(), series.axes, options, path), page, path)
            colors = (page.colormap >> 8).astype(np.uint8) if page.photometric == PALETTE else None
            spacing_mm = spacing_of(file, page, len(values))
            if spacing_mm is not None and _turn(page)[0]:
                spacing_mm = (spacing_mm[0], spacing_mm[2], spacing_mm[1])
            return _upright(values, page), colors, spacing_mm
    except DAMAGED as error:
        raise InputFileError(
            f"{path} cannot be read to its end ({str(error)[:120]})",
            expected="a whole TIFF picture",
            fix="copy or export it again",
        ) from None


def _refuse_endless(path: Path, first: bytes) -> None:
    """Follow the chain of pages once: tifffile walks in circles where a damaged one leads back."""
    order: Literal["little", "big"] = "little" if first[:2] == b"II" else "big"
    big = first[2:4] in (b"+\0", b"\0+")
    width, count_width, tag_size, start = (8, 8, 20, first[8:16]) if big else (4, 2, 12, first[4:8])
    offset, seen, size = int.from_bytes(start, order), set[int](), path.stat().st_size
    with path.open("rb") as file:
        while offset:
            if offset in seen or offset >= size or len(seen) >= MAX_PAGES:
                raise InputFileError(
                    f"{path} has a damaged chain of pages (page {len(seen)} at byte {offset} of {size})",
                    expected=f"at most {MAX_PAGES} pages, each inside the file",
                    fix="copy or export it again",
                )
            seen.add(offset)
            file.seek(offset)
            file.seek(offset + count_width + tag_size * int.from_bytes(file.read(count_width), order))
            offset = int.from_bytes(file.read(width), order)


def _only_series(file: TiffFile, path: Path) -> TiffPageSeries:
    if len(file.series) != 1 or file.series[0].is_pyramidal:
        sizes = ", ".join(" x ".join(map(str, level.shape)) for s in file.series for level in s.levels)
        raise InputFileError(
            f"{path} holds pictures of {sizes}",
            expected="pages of one size",
            fix="save the level or page you mean as its own file",
        )
    return file.series[0]


def _refuse_unreadable(page: TiffPage, path: Path) -> None:
    if page.photometric == CMYK or page.photometric in LAB:
        raise InputFileError(
            f"{path} is a {page.photometric.name} picture",
            expected="grey, RGB or palette",
            fix="convert it to RGB with its colour profile",
        )
    if np.dtype(page.dtype).kind not in "buif":
        raise InputFileError(f"{path} holds {page.dtype} pixels", expected="integers or floats", fix="convert it first")


def _stored_bytes(file: TiffFile, path: Path) -> int:
    """Bytes of all strips and tiles, each of which must lie inside the file; tifffile fills missing ones with 0."""
    size, total = path.stat().st_size, 0
    for page in file.pages:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > size or count == 0:
                raise InputFileError(
                    f"{path} has pixels at bytes {offset} to {offset + count} of {size}",
                    expected="a whole TIFF picture",
                    fix="copy or export it again",
                )
            total += count
    return total


def _stack(values: np.ndarray, axes: str, options: ReadOptions, path: Path) -> np.ndarray:
    """tifffile's axes to (D, H, W[, C]); one channel or time where several are there."""
    order = list(axes)
    if options.volume not in (None, 0) and not any(axis not in STACKS + "YXS" for axis in order):
        raise InputFileError(f"{path} holds no volume {options.volume}", expected="0", fix="leave the volume out")
    others = [axis for axis in order if axis not in STACKS + "YXS" and values.shape[order.index(axis)] > 1]
    for axis in others:
        count = values.shape[order.index(axis)]
        if options.volume is None or len(others) > 1 or not 0 <= options.volume < count:
            raise InputFileError(
                f"{path} holds {count} channels or times (axes {axes})",
                expected="one",
                fix=f"choose one from 0 to {count - 1} with volume= (--volume)",
            )
        values = np.take(values, [options.volume], axis=order.index(axis))
    height, width = values.shape[order.index("Y")], values.shape[order.index("X")]
    if "S" in order:
        values = np.moveaxis(values, order.index("S"), -1)
        order = [axis for axis in order if axis != "S"] + ["S"]
        return values.reshape(-1, height, width, values.shape[-1])
    return values.reshape(-1, height, width)


def _opaque(values: np.ndarray, page: TiffPage, path: Path) -> np.ndarray:
    """Grey or RGB alone: straight alpha is laid on black, premultiplied alpha lies there already."""
    if values.ndim == 3:
        return values
    colours = 3 if page.photometric in (RGB, YCBCR) else 1
    extras = values.shape[-1] - colours
    if extras not in (0, 1) or (extras and not page.extrasamples):
        raise InputFileError(
            f"{path} holds {values.shape[-1]} channels",
            expected="grey or RGB",
            fix="save the channel you mean as its own file",
        )
    if extras and int(page.extrasamples[0]) == STRAIGHT_ALPHA and values.dtype.kind == "u":
        return on_black(values)
    shown = values[..., :colours]
    return shown if colours == 3 else shown[..., 0]


def _turn(page: TiffPage) -> tuple[bool, bool, bool]:
    """Whether rows and columns change places, then rows run upwards, then columns to the left."""
    tag = page.tags.get("Orientation")
    return TURNS.get(int(tag.value) if tag is not None else 1, TURNS[1])


def _upright(values: np.ndarray, page: TiffPage) -> np.ndarray:
    swap, flip_rows, flip_columns = _turn(page)
    values = np.swapaxes(values, 1, 2) if swap else values
    values = values[:, ::-1] if flip_rows else values
    values = values[:, :, ::-1] if flip_columns else values
    if page.photometric == MINISWHITE:
        values = (
            ~values
            if values.dtype == bool
            else np.iinfo(values.dtype).max - values
            if values.dtype.kind == "u"
            else -values
        )
    values = values.astype(np.float32) if values.dtype == np.float16 else values
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
