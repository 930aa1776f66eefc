"""The npz files of MedSAM, its challenges and MedSAM2; arrays are read one by one and never unpickled.

`imgs` is the image, `gts` or `segs` the labels, `boxes` (N, 4) or (N, 6) and `recist` the prompts. `spacing`, `origin`
and the nine numbers of `direction` are in SimpleITK's order, x y z, while arrays are (z, y, x).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from medsam.errors import GeometryError, InputFileError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Image, Mask
from medsam.io.formats import ReadOptions, WriteOptions
from medsam.io.guard import guarded
from medsam.io.labels import convert_to_labels, narrow_labels
from medsam.io.limits import explain_other_content, read_head, refuse_oversized, require_file
from medsam.io.placement import require_affine

MAX_ARRAYS = 10000
LABELS = ("gts", "segs", "seg", "gt")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Prompts:
    """The prompts a challenge file carries.

    Args:
        boxes_N4: (N, 4) x0 y0 x1 y1 in slice pixels, or None; box i belongs to label i + 1.
        boxes_N6: (N, 6) x0 y0 z0 x1 y1 z1 in voxels, or None.
        recist: RECIST lines drawn as labels, on the image's grid, or None.
    """

    boxes_N4: np.ndarray | None = None
    boxes_N6: np.ndarray | None = None
    recist: Mask | None = None


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read `imgs`; uint8 there means that intensities were brought to [0, 255] already.

    Raises:
        InputFileError: not npz, damaged, too large, no `imgs`, or objects that would have to be unpickled.
        GeometryError: spacing or direction that is none.
    """
    with _Archive(path, options.max_bytes) as archive:
        values = archive.stacked("imgs")
        grid = archive.grid(values.shape[:3])
    return Image(values, grid, normalized=values.dtype == np.uint8)


def read_mask(path: Path, reference: Grid | None) -> Mask:
    """Read `gts`, or `segs` where there is none; a file without spacing takes the reference's grid.

    Raises:
        InputFileError: as read_image, or no labels.
    """
    with _Archive(path, ReadOptions().max_bytes) as archive:
        key = next((key for key in LABELS if key in archive.shapes), LABELS[0])
        labels = convert_to_labels(archive.stacked(key), path)
        grid = archive.grid(labels.shape)
    if grid.spacing_mm is None and reference is not None and reference.shape == grid.shape:
        grid = reference
    return Mask(labels, grid)


def read_prompts(path: str | Path) -> Prompts:
    """Read the boxes and RECIST lines of a challenge file.

    Raises:
        InputFileError: as read_image, or prompts of another shape; the pickled ones of the 2025 challenge are refused.
    """
    source = require_file(path, "an npz file")
    with guarded(source, "a whole npz file"), _Archive(source, ReadOptions().max_bytes) as archive:
        boxes = archive.array("boxes").astype(np.float64) if "boxes" in archive.shapes else None
        recist = convert_to_labels(archive.stacked("recist"), source) if "recist" in archive.shapes else None
        marked = Mask(recist, archive.grid(recist.shape)) if recist is not None else None
    if boxes is None:
        return Prompts(recist=marked)
    boxes = boxes[None] if boxes.ndim == 1 else boxes
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 6):
        raise InputFileError(
            f"{source} has boxes of shape {boxes.shape}", expected="(N, 4) or (N, 6)", fix="save one row per box"
        )
    flat = boxes.shape[1] == 4
    return Prompts(boxes if flat else None, None if flat else boxes, marked)


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write `segs` as the challenges want it, (H, W) for one slice, with spacing, direction and origin where known.

    Raises:
        OutputError: the disk refused.
    """
    del options
    labels = narrow_labels(mask.labels)
    arrays = {"segs": labels[0] if len(labels) == 1 else labels}
    if mask.grid.spacing_mm is not None:
        affine, spacing = require_affine(mask.grid), np.array(mask.grid.spacing_mm)
        arrays["spacing"] = spacing[::-1]
        arrays["direction"] = (affine[:3, :3] / spacing)[:, ::-1].ravel()
        arrays["origin"] = affine[:3, 3].copy()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


class _Archive:
    """An open npz whose array shapes were checked against the sizes of its members before anything is unpacked."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        first = read_head(path, 540)
        if not first.startswith(b"PK"):
            raise explain_other_content(path, first, "an npz file")
        try:
            self._zip = zipfile.ZipFile(path)
            if len(self._zip.namelist()) > MAX_ARRAYS:
                raise ValueError(f"{len(self._zip.namelist())} arrays")
            self.shapes = {
                name.removesuffix(".npy"): self._shape(name) for name in self._zip.namelist() if name.endswith(".npy")
            }
        except (
            zipfile.BadZipFile,
            zlib.error,
            ValueError,
            OSError,
            EOFError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise self._damaged(error) from None

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _damaged(self, error: Exception) -> InputFileError:
        return InputFileError(
            f"{self.path} is damaged or truncated ({str(error)[:120]})",
            expected="a whole npz file",
            fix="copy or export it again",
        )

    def _shape(self, name: str) -> tuple[Shape, np.dtype[np.generic]]:
        with self._zip.open(name) as member:
            return _npy_header(member)

    def array(self, key: str) -> np.ndarray:
        """One array.

        Raises:
            InputFileError: not there, pickled, too large, damaged.
        """
        if key not in self.shapes:
            there = ", ".join(sorted(self.shapes)) or "no arrays"
            raise InputFileError(
                f"{self.path} holds {there}", expected=f"an array {key!r}", fix="save it under that name"
            )
        shape, dtype = self.shapes[key]
        if dtype.hasobject:
            raise InputFileError(
                f"{self.path} keeps {key!r} as pickled Python objects, which could run code",
                expected="a plain array",
                fix="save plain numbers, for example boxes as (N, 4) or (N, 6)",
            )
        member = self._zip.getinfo(f"{key}.npy")
        declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
        refuse_oversized(self.path, declared, member.file_size, max_bytes=self.max_bytes)
        refuse_oversized(self.path, declared, member.compress_size, encoding="zlib", max_bytes=self.max_bytes)
        try:
            with self._zip.open(member) as file:
                values: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError) as error:
            raise self._damaged(error) from None
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    def stacked(self, key: str) -> np.ndarray:
        """An image or label array as (D, H, W) or (D, H, W, 3)."""
        values = self.array(key)
        flat_colour = values.ndim == 3 and self._is_picture(values.shape)
        if values.ndim == 2 or flat_colour:
            values = values[None]
        if values.ndim == 4 and values.shape[-1] == 1:
            values = values[..., 0]
        if (
            values.ndim not in (3, 4)
            or 0 in values.shape
            or values.shape[3:] not in ((), (3,))
            or values.dtype.kind not in "buif"
        ):
            raise InputFileError(
                f"{self.path} has {key!r} of shape {values.shape} and dtype {values.dtype}",
                expected="(D, H, W), (H, W) or (H, W, 3) numbers",
                fix="save it in one of these shapes",
            )
        return values

    def _is_picture(self, shape: Shape) -> bool:
        """Whether (a, b, 3) is one colour picture: labels or boxes beside it tell; bare challenge files are."""
        if shape[-1] != 3:
            return False
        beside = [self.shapes[key][0] for key in LABELS if key in self.shapes]
        if beside:
            return len(beside[0]) == 2
        boxes = self.shapes["boxes"][0] if "boxes" in self.shapes else ()
        return boxes[-1:] != (6,) and "spacing" not in self.shapes

    def grid(self, shape: Shape) -> Grid:
        size = (shape[0], shape[1], shape[2])
        spacing = self._numbers("spacing", (3, 2))
        if spacing is None:
            return Grid(size)
        spacing = np.append(spacing, 1.0)[:3]
        direction = self._numbers("direction", (9,))
        origin = self._numbers("origin", (3,))
        affine = np.eye(4)
        affine[:3, :3] = ((np.eye(3) if direction is None else direction.reshape(3, 3)) * spacing)[:, ::-1]
        affine[:3, 3] = 0 if origin is None else origin
        try:
            return Grid(size, affine=affine)
        except GeometryError as error:
            raise GeometryError(f"{self.path}: {error.got}", expected=error.expected, fix=error.fix) from None

    def _numbers(self, key: str, counts: tuple[int, ...]) -> np.ndarray | None:
        if key not in self.shapes:
            return None
        values = np.atleast_1d(self.array(key)).ravel()
        if values.dtype.kind not in "uif" or values.size not in counts or not np.isfinite(values).all():
            raise GeometryError(
                f"{self.path} has {key} {values.tolist()!r:.80}",
                expected=f"{counts[0]} finite numbers, x y z",
                fix="save it again",
            )
        return values.astype(np.float64)


def _npy_header(member: IO[bytes]) -> tuple[Shape, np.dtype[np.generic]]:
    version = np.lib.format.read_magic(member)
    read: Mapping[tuple[int, int], Callable[[IO[bytes]], tuple[Shape, bool, np.dtype[np.generic]]]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise ValueError(f"array format {version}")
    shape, _, dtype = read[version](member)
    return shape, dtype
