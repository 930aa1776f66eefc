"""TIFF: 8 and 16 bit, float, RGB, YCbCr, palette; pages of one size are the slices of a stack.

Spacing is read in tiff_spacing, colours other than RGB in tiff_color, and sets of several files in tiff_sets. Where white
is stored as 0, an image is turned so that white is high. A mask is not: its numbers are labels however they are shown.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from medsam.errors import InputFileError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Image, Mask
from medsam.io.formats import ReadOptions, WriteOptions
from medsam.io.guard import guarded
from medsam.io.labels import choose_grid_without_geometry, convert_to_labels, narrow_labels
from medsam.io.limits import explain_other_content, read_head, refuse_oversized
from medsam.io.pictures.palettes import explain_two_readings, find_used, read_palette_labels
from medsam.io.pictures.raster import lay_on_black, take_labels
from medsam.io.pictures.tiff_color import YCBCR, convert_to_rgb, is_ycbcr, refuse_unknown_ycbcr
from medsam.io.pictures.tiff_sets import find_companions, refuse_lost_planes
from medsam.io.pictures.tiff_spacing import find_spacing

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

Spacing = tuple[float, float, float] | None
QUIET = logging.NullHandler()  # without a handler tifffile tells of every damaged tag on standard error
MAX_PAGES = 100_000
OTHER_AXES = {"T": "times", "C": "channels"}
STACKS = "ZIQ"  # tifffile's axes that are slices: depth, pages, unknown
MINISWHITE, RGB, PALETTE, CMYK, LAB = 0, 2, 3, 5, (8, 9, 10)
STRAIGHT_ALPHA = 2
TURNS = {1: (False, False, False), 2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
         5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Stored:
    """What a TIFF holds, upright but not yet as it is shown.

    Args:
        values: (D, H, W[, 3]).
        colors: (3, N) uint8, the palette where there is one.
        white_is_zero: Whether 0 is shown as white.
        bits: Of a sample.
        from_imagej: Whether ImageJ wrote the file.
        spacing_mm: (z, y, x) where the file states it.
    """

    values: np.ndarray
    colors: np.ndarray | None
    white_is_zero: bool
    bits: int
    from_imagej: bool
    spacing_mm: Spacing


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read a TIFF as (D, H, W) or (D, H, W, 3); palettes become colours, alpha is laid on black.

    Raises:
        InputFileError: truncated, damaged, too large, CMYK, a pyramid, or channels or times and none chosen.
    """
    stored = _read(path, options)
    values = stored.values
    if stored.colors is not None:
        values = np.moveaxis(stored.colors[:, values], 0, -1)
    elif values.dtype == bool:
        values = (values ^ stored.white_is_zero).astype(np.uint8) * np.uint8(255)
    elif stored.white_is_zero:
        values = np.iinfo(values.dtype).max - values if values.dtype.kind == "u" else -values
    return Image(values, Grid(values.shape[:3], stored.spacing_mm))


def read_mask(path: Path, reference: Grid | None, volume: int | None = None) -> Mask:
    """Read labels: palette indices or grey values, where 8-bit 0 and 255 alone mean background and label 1.

    Raises:
        InputFileError: as read_image, colours, or what can be read both ways: 0 shown as white and no word of ImageJ.
        GeometryError: another shape than the reference.
    """
    stored = _read(path, ReadOptions(volume=volume))
    labels = convert_to_labels(_label_values(stored, path), path)
    grid = choose_grid_without_geometry(labels.shape, reference, path)
    return Mask(labels, grid if reference is not None else Grid(grid.shape, stored.spacing_mm))


def _label_values(stored: _Stored, path: Path) -> np.ndarray:
    values = stored.values
    if stored.colors is not None:
        return read_palette_labels(values, stored.colors.T, path, from_imagej=stored.from_imagej)
    if not stored.white_is_zero:
        return take_labels(values)
    if values.dtype == bool:  # black and white: what is bright is the object
        return ~values
    if values.dtype.kind == "u" and values.ndim == 3:
        used, top = set(find_used(values).tolist()), (1 << stored.bits) - 1
        if (used <= {0, top} and not stored.from_imagej) or (top in used and 0 not in used):
            raise explain_two_readings(path, f"0 shown as white and {top} as black")
    return take_labels(values)  # ImageJ's masks are 255, shown black, on 0


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write labels as grey values, one page per slice, deflated.

    Raises:
        OutputError: a label above 65535, or the disk refused.
    """
    from tifffile import imwrite

    del options
    labels, ids = narrow_labels(mask.labels), mask.ids
    if ids and ids[-1] > 65535:
        raise OutputError(
            f"label {ids[-1]} for a TIFF", expected="labels up to 65535", fix="renumber them, or write .nii.gz"
        )
    if ids == (255,):
        labels = labels.astype(np.uint16)  # 8-bit 0 and 255 would be read as 0 and 1
    with replacing(path) as temporary:
        imwrite(temporary, labels, photometric="minisblack", compression="zlib", metadata=None)


def _read(path: Path, options: ReadOptions) -> _Stored:
    from tifffile import TiffFile

    logging.getLogger("tifffile").addHandler(QUIET)
    first = read_head(path, 540)
    if first[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise explain_other_content(path, first, "a TIFF picture")
    with guarded(path, "a whole TIFF picture"):
        _refuse_endless(path)
        with TiffFile(path) as file:
            companions = find_companions(path, file.ome_metadata)
            for companion in companions:
                _refuse_endless(companion)
            series = _only_series(file, path)
            refuse_lost_planes(series, path)
            page = series.keyframe
            _refuse_unreadable(page, path)
            _refuse_oversized(series, page, [path, *companions], options)
            values = _opaque(_stack(series.asarray(), series.axes, options, path), page, path)
            if is_ycbcr(page):
                values = convert_to_rgb(values, page)
            spacing_mm = find_spacing(file, page, len(values))
            if spacing_mm is not None and _turn(page)[0]:
                spacing_mm = (spacing_mm[0], spacing_mm[2], spacing_mm[1])
            colors = (page.colormap >> 8).astype(np.uint8) if page.photometric == PALETTE else None
            white = page.photometric == MINISWHITE
            bits = int(np.max(page.bitspersample))
            return _Stored(_upright(values, page), colors, white, bits, bool(file.is_imagej), spacing_mm)


def _refuse_endless(path: Path) -> None:
    """Follow the chain of pages once: tifffile walks in circles where a damaged one leads back."""
    first = read_head(path, 16)
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
    refuse_unknown_ycbcr(page, path)
    if np.dtype(page.dtype).kind not in "buif":
        raise InputFileError(f"{path} holds {page.dtype} pixels", expected="integers or floats", fix="convert it first")


def _refuse_oversized(series: TiffPageSeries, page: TiffPage, paths: list[Path], options: ReadOptions) -> None:
    """Refuse more pixels than the strips and tiles can hold; those must lie in their file: tifffile fills gaps with 0."""
    sizes = {str(one.resolve()): one.stat().st_size for one in paths}
    stored = 0
    for one in series.pages:
        size = sizes[str(Path(one.parent.filehandle.path).resolve())]
        pieces = int(np.prod(one.chunked, dtype=object))
        if len(one.dataoffsets) < pieces or len(one.databytecounts) < pieces:
            raise InputFileError(
                f"{paths[0]} has {len(one.dataoffsets)} strips or tiles of {pieces}",
                expected="a whole TIFF picture",
                fix="copy or export it again",
            )
        for offset, count in zip(one.dataoffsets, one.databytecounts, strict=False):
            if offset + count > size or count == 0:
                raise InputFileError(
                    f"{paths[0]} has pixels at bytes {offset} to {offset + count} of {size}",
                    expected="a whole TIFF picture",
                    fix="copy or export it again",
                )
            stored += count
    itemsize = np.dtype(series.dtype).itemsize
    declared = int(np.prod(series.shape, dtype=object)) * itemsize
    raw = page.compression == 1 and page.bitspersample >= 8
    limit = options.max_bytes
    refuse_oversized(paths[0], declared, stored, encoding="raw" if raw else "bzip2", max_bytes=limit)
    piece = int(np.prod(page.chunks, dtype=object)) * itemsize  # a strip or tile, which is decoded as a whole
    refuse_oversized(paths[0], piece, stored, encoding="bzip2", max_bytes=limit)


def _stack(values: np.ndarray, axes: str, options: ReadOptions, path: Path) -> np.ndarray:
    """tifffile's axes to (D, H, W[, C]); one channel and time where several are there, counted in the file's order."""
    order = list(axes)
    sizes = dict(zip(order, values.shape, strict=True))
    others = [axis for axis in order if axis not in STACKS + "YXS"]
    count = int(np.prod([sizes[axis] for axis in others], dtype=int))
    chosen = options.volume if options.volume is not None else 0 if count == 1 else -1
    if not 0 <= chosen < count:
        parts = " x ".join(f"{sizes[axis]} {OTHER_AXES.get(axis, f'({axis})')}" for axis in others) or "1 volume"
        if count == 1:
            raise InputFileError(f"{path} holds no volume {chosen}", expected="0", fix="leave the volume out")
        raise InputFileError(
            f"{path} holds {count} volumes: {parts}" + (f", and no volume {chosen}" if chosen >= 0 else ""),
            expected="one",
            fix=f"choose one from 0 to {count - 1} with volume= (--volume); the last named counts fastest",
        )
    values = np.moveaxis(values, [order.index(axis) for axis in others], range(len(others)))
    values = values.reshape(count, *values.shape[len(others) :])[chosen]
    order = [axis for axis in order if axis not in others]
    if "S" in order:
        values = np.moveaxis(values, order.index("S"), -1)
        return values.reshape(-1, sizes["Y"], sizes["X"], sizes["S"])
    return values.reshape(-1, sizes["Y"], sizes["X"])


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
        return lay_on_black(values)
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
    values = values.astype(np.float32) if values.dtype == np.float16 else values
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
