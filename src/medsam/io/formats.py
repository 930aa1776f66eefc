"""Reading and writing by suffix; the table of formats is in suffixes.py.

A module named there has the functions its row claims: read_image(path, options), read_mask(path, reference),
write_mask(mask, path, options); read_mask takes a volume too where the row says "volumes". A format that keeps structures
apart has read_segments(path, reference, only, overlap) in place of read_mask. One that can write images stores labels as
it stores grey values, and has read_image and write_values(values, grid, path) alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np

from medsam.errors import InputFileError, OutputError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.modality import Modality, parse_modality
from medsam.io.guard import guarded
from medsam.io.labels import convert_to_labels, narrow_labels
from medsam.io.limits import MAX_BYTES, describe_content, read_head, require_file
from medsam.io.placement import Overlap, keep_segments, lay_on_grid
from medsam.io.suffixes import FORMATS, Format, find_format, find_named, list_suffixes

Geometry = Literal["refuse", "resample"]


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may need to be told.

    Args:
        series: DICOM series to take where a folder holds several: the number that the message lists, or its UID.
        geometry: "refuse" a gapped or tilted DICOM series, or "resample" it onto a regular grid.
        modality: Set when the caller knows it; readers of formats without a modality need not look.
        volume: Which one of a file with several (a time series, diffusion), from 0.
        max_bytes: The most that the decoded pixels may take.
    """

    series: str | None = None
    geometry: Geometry = "refuse"
    modality: Modality | None = None
    volume: int | None = None
    max_bytes: int = MAX_BYTES


@dataclass(frozen=True)
class WriteOptions:
    """What a writer may need to be told.

    Args:
        reference: The image file or DICOM series the mask belongs to; DICOM SEG and RTSTRUCT need it.
        kind: Variant of the format, such as "BINARY", "LABELMAP" or "FRACTIONAL" for DICOM SEG.
        series: Number or UID of the series in the reference, where several have the grid of the mask.
    """

    reference: Path | None = None
    kind: str | None = None
    series: str | None = None


class _Module(Protocol):
    def read_image(self, path: Path, options: ReadOptions) -> Image: ...
    def write_values(self, values: np.ndarray, grid: Grid, path: Path) -> None: ...
    def read_mask(self, path: Path, reference: Grid | None, volume: int | None = ...) -> Mask: ...
    def read_segments(
        self, path: Path, reference: Grid | None, *, only: Sequence[str] | None, overlap: Overlap
    ) -> Mask: ...
    def write_mask(self, mask: Mask, path: Path, options: WriteOptions) -> None: ...
    def check_reference(self, reference: Path, *, series: str | None, grid: Grid | None) -> None: ...


def read_image(
    path: str | Path,
    *,
    modality: str | Modality | None = None,
    series: str | None = None,
    geometry: Geometry = "refuse",
    volume: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> Image:
    """Read a 2D or 3D image with its geometry.

    Args:
        path: NIfTI, NRRD, MHA/MHD, DICOM (a file, a folder, a zip), PNG, JPEG, TIFF, BMP, or a challenge npz.
        modality: What made it, where the file does not say or says it wrong.
        series: DICOM series to take where a folder holds several: the number that the message lists, or its UID.
        geometry: "refuse" a gapped or tilted DICOM series, or "resample" it onto a regular grid.
        volume: Which volume of a NIfTI, NRRD, MetaImage or TIFF file with several, from 0.
        max_bytes: The most that the decoded pixels may take; 8 GiB.

    Returns:
        An Image: values (D, H, W) or (D, H, W, 3) as stored (rescale slope and intercept applied), not normalized.

    Raises:
        InputFileError: missing, empty, truncated, unknown, of another format than its suffix, or too large.
        GeometryError: the geometry cannot be trusted.
    """
    source = _existing(path)
    chosen = parse_modality(modality) if modality is not None else None
    row = _row_for(source, "read_image")
    _refuse_no_volume(source, row, volume)
    with guarded(source, f"a whole {row.name} file"):
        image = _load(row).read_image(source, ReadOptions(series, geometry, chosen, volume, max_bytes))
    return replace(image, modality=chosen) if chosen is not None else image


def read_mask(
    path: str | Path,
    *,
    reference: Image | Grid | str | Path | None = None,
    only: Sequence[str | int] | str | int | None = None,
    overlap: Overlap = "refuse",
    volume: int | None = None,
) -> Mask:
    """Read a label map with its geometry.

    Args:
        path: Any mask format of write_mask.
        reference: The image, its grid or its file; formats that store contours or no geometry need it.
        only: Names or label ids to take; all without it.
        overlap: What happens where structures of a file overlap: "refuse", or the "first" or "last" of them wins.
        volume: Which volume of a NIfTI, NRRD, MetaImage or TIFF file with several, from 0.

    Raises:
        InputFileError: as read_image, or pixels that are not integer labels.
        GeometryError: the mask does not lie on the reference's grid.
    """
    source = _existing(path)
    row = _row_for(source, "read_mask")
    _refuse_no_volume(source, row, volume)
    grid = _grid(reference)
    module = _load(row)
    wanted = None if only is None else [str(only)] if isinstance(only, (str, int)) else [str(item) for item in only]
    with guarded(source, f"a whole {row.name} file"):
        if hasattr(module, "read_segments"):
            mask = module.read_segments(source, grid, only=wanted, overlap=overlap)
        else:
            mask = keep_segments(_read_labels(module, row, source, grid, volume), wanted, source)
    return mask if grid is None else lay_on_grid(mask, grid)


def write_mask(
    mask: Mask,
    path: str | Path,
    *,
    reference: str | Path | None = None,
    format: str | None = None,
    series: str | None = None,
) -> None:
    """Write a label map, whole or not at all.

    Args:
        mask: Labels on their grid.
        path: Where to; the suffix chooses the format.
        reference: The image file or DICOM folder the mask belongs to; DICOM SEG and RTSTRUCT need it.
        format: Name of the format where the suffix does not tell, as "rtstruct" or "dicom-seg:LABELMAP" for .dcm.
        series: Number or UID of the series that was segmented, where several of the reference have this grid.

    Raises:
        OutputError: unknown suffix, labels the format cannot hold, no reference, or the disk refused.
    """
    target = Path(path)
    name, _, kind = (format or "").partition(":")
    if not isinstance(reference, (str, Path, type(None))):
        raise OutputError(
            f"the reference is {type(reference).__name__}",
            expected="the path of the image or DICOM folder",
            fix="pass the path that was read",
        )
    row = _row_for(target, "write_mask", name or None)
    if "write_image" in row.can:
        _load(row).write_values(narrow_labels(mask.labels), mask.grid, target)
        return
    _load(row).write_mask(mask, target, WriteOptions(Path(reference) if reference else None, kind or None, series))


def write_image(image: Image, path: str | Path) -> None:
    """Write an image, whole or not at all; values, spacing and place as they are.

    Args:
        image: What to write.
        path: A .nii, .nii.gz, .nrrd, .nhdr, .mha or .mhd file.

    Raises:
        OutputError: unknown suffix, values the format cannot hold, or the disk refused.
    """
    target = Path(path)
    _load(_row_for(target, "write_image")).write_values(_writable_values(image), image.grid, target)


def check_writable(
    path: str | Path,
    *,
    reference: str | Path | None = None,
    format: str | None = None,
    series: str | None = None,
    grid: Grid | None = None,
) -> None:
    """Refuse an output that write_mask would refuse, before any work is done for it.

    Args:
        path: As in write_mask.
        reference: As in write_mask.
        format: As in write_mask.
        series: As in write_mask.
        grid: Of the image that is to be segmented, if it is known.

    Raises:
        OutputError: unknown suffix or format, a DICOM object without the DICOM series it belongs to, a series that
            such an object cannot belong to, or no folder to write into.
        InputFileError: the series is damaged, or several have this grid.
        GeometryError: none has this grid.
    """
    target = Path(path)
    row = _row_for(target, "write_mask", (format or "").partition(":")[0] or None)
    dicom = reference is not None and Path(reference).exists() and _may_be_dicom(Path(reference))
    if row.name in ("dicom-seg", "rtstruct") and not dicom and not str(reference).lower().endswith(".zip"):
        what = "no series is named" if reference is None else f"{reference} is no DICOM series"
        raise OutputError(
            f"{target} is to be a DICOM object and {what}",
            expected="the DICOM series that the mask belongs to",
            fix="pass --reference FOLDER, or write .nii.gz, .nrrd, ...",
        )
    if row.name in ("dicom-seg", "rtstruct") and reference is not None:
        _load(row).check_reference(Path(reference), series=series, grid=grid)
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(
            f"{target} cannot be written into {folder}", expected="a folder that may be written", fix="write elsewhere"
        )


def detect_format(path: str | Path) -> Format:
    """The row that reads a file: as an image where it can, else as a mask.

    Raises:
        InputFileError: missing, empty or unknown.
    """
    source = _existing(path)
    row = None if source.is_dir() else find_format(source)
    return row or _row_for(source, "read_image")


def _existing(path: str | Path) -> Path:
    source = Path(path)
    if path == "" or not source.exists():  # an empty text is no way to say "this folder"
        raise InputFileError(
            f"{path or 'an empty path'} does not exist",
            expected="an existing file or DICOM folder",
            fix="check the path",
        )
    if source.is_dir():
        return source
    if require_file(source, "an image file").stat().st_size == 0:
        raise InputFileError(f"{source} is empty (0 bytes)", expected="an image file", fix="copy or export it again")
    return source


def _row_for(path: Path, ability: str, name: str | None = None) -> Format:
    if name is not None:
        return find_named(name, ability)
    writes = ability.startswith("write")
    row = find_format(path, ability) if writes or not path.is_dir() else None
    if row is None and not writes and _may_be_dicom(path):
        row = next(row for row in FORMATS if ability in row.can and row.name.startswith("dicom"))
    if row is not None:
        return row
    known = " ".join(sorted(list_suffixes(ability)))
    if writes:
        raise OutputError(
            f"{path} has the suffix {path.suffix!r}",
            expected=f"one of {known}",
            fix="give it one of them, or name the format",
        )
    kind = (
        "is a folder"
        if path.is_dir()
        else f"has the suffix {path.suffix!r} and holds {describe_content(read_head(path, 540))}"
    )
    raise InputFileError(
        f"{path} {kind}", expected=f"one of {known}", fix="rename it to its real format, or convert it"
    )


def _may_be_dicom(path: Path) -> bool:
    """DICOM comes as folders, and as files without a suffix or named by a UID, whose last number looks like one."""
    return path.is_dir() or not path.suffix or read_head(path, 132)[128:] == b"DICM"


def _refuse_no_volume(path: Path, row: Format, volume: int | None) -> None:
    if volume not in (None, 0) and "volumes" not in row.can:
        raise InputFileError(
            f"{path} holds no volume {volume}", expected=f"0: a {row.name} file holds one", fix="leave the volume out"
        )


def _read_labels(module: _Module, row: Format, path: Path, grid: Grid | None, volume: int | None) -> Mask:
    if "write_image" in row.can:
        image = module.read_image(path, ReadOptions(volume=volume))
        return Mask(convert_to_labels(image.values, path), image.grid)
    return module.read_mask(path, grid, volume) if "volumes" in row.can else module.read_mask(path, grid)


def _writable_values(image: Image) -> np.ndarray:
    """Values as NIfTI, NRRD and MetaImage all hold them: bool as uint8, float16 as float32, 64-bit integers in 32 bits.

    Integers that need 64 bits keep them.
    """
    values = image.values
    if values.dtype.kind not in "buif" or values.dtype.itemsize > 8 or (image.is_rgb and values.dtype != np.uint8):
        raise OutputError(
            f"the image holds {values.dtype}{' colours' if image.is_rgb else ''}",
            expected="grey values, or 8-bit colours",
            fix="convert the values first",
        )
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype.kind in "ui" and values.dtype.itemsize == 8:
        low, high = int(values.min()), int(values.max())
        for dtype in (np.int32, np.uint32):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return values.astype(dtype)
    return np.ascontiguousarray(values)


def _load(row: Format) -> _Module:
    return cast(_Module, import_module(row.module))


def _grid(reference: Image | Grid | str | Path | None) -> Grid | None:
    if reference is None or isinstance(reference, Grid):
        return reference
    if isinstance(reference, Image):
        return reference.grid
    return read_image(reference, volume=0).grid  # all volumes of a file lie on one grid
