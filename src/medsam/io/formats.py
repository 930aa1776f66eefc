"""The one table of file formats, and reading and writing by suffix.

A module named in the table has the functions its row claims: read_image(path, options), read_mask(path, reference),
write_mask(mask, path, options); read_mask takes a volume too where the row says "volumes"; read_segments(path, reference, only, overlap) instead of read_mask's plain call where
the format keeps structures apart; write_image(image, path). A new format is one module and one row.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from medsam.errors import InputFileError, OutputError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.modality import Modality, parse_modality
from medsam.io.limits import MAX_BYTES, content, head
from medsam.io.placement import Overlap, kept, on_grid

Geometry = Literal["refuse", "resample"]


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may need to be told.

    Args:
        series: DICOM SeriesInstanceUID to take where a folder holds several.
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
        series: SeriesInstanceUID in the reference, where several series have the grid of the mask.
    """

    reference: Path | None = None
    kind: str | None = None
    series: str | None = None


@dataclass(frozen=True)
class Format:
    """One row of the table."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    can: frozenset[str]  # of "read_image", "write_image", "read_mask", "write_mask"; "volumes": may hold several


def _row(name: str, suffixes: str, module: str, can: str) -> Format:
    return Format(name, tuple(suffixes.split()), f"medsam.io.{module}", frozenset(can.split()))


FORMATS = (
    _row("nifti", ".nii .nii.gz", "nifti", "read_image read_mask write_mask volumes"),
    _row("seg.nrrd", ".seg.nrrd", "segnrrd", "read_mask write_mask"),
    _row("nrrd", ".nrrd .nhdr", "nrrd", "read_image read_mask write_mask volumes"),
    _row("metaimage", ".mha .mhd", "metaimage", "read_image read_mask write_mask volumes"),
    _row("npz", ".npz", "npz", "read_image read_mask write_mask"),
    _row("png", ".png", "raster", "read_image read_mask write_mask"),
    _row("jpeg", ".jpg .jpeg", "raster", "read_image"),
    _row("tiff", ".tif .tiff", "tiff", "read_image read_mask write_mask volumes"),
    _row("bmp", ".bmp", "raster", "read_image read_mask"),
    _row("coco", ".json", "coco", "read_mask write_mask"),
    _row("slide", ".svs .ndpi .scn .mrxs .bif .vms", "slides", "read_image"),
    _row("dicom", ".dcm .dicom .ima .zip", "dicom", "read_image"),
    _row("dicom-seg", ".dcm", "dicom_seg", "read_mask write_mask"),  # reads RTSTRUCT too
    _row("geojson", ".geojson", "geojson", "read_mask write_mask"),
    _row("stl", ".stl", "stl", "read_mask write_mask"),
    _row("image", ".nii .nii.gz .nrrd .mha", "image_files", "write_image"),
    _row("rtstruct", "", "rtstruct", "read_mask write_mask"),  # written by name: RTSTRUCT is .dcm as well
)


class _Module(Protocol):
    def read_image(self, path: Path, options: ReadOptions) -> Image: ...
    def write_image(self, image: Image, path: Path) -> None: ...
    def read_mask(self, path: Path, reference: Grid | None, volume: int | None = ...) -> Mask: ...
    def read_segments(
        self, path: Path, reference: Grid | None, *, only: Sequence[str] | None, overlap: Overlap
    ) -> Mask: ...
    def write_mask(self, mask: Mask, path: Path, options: WriteOptions) -> None: ...


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
        series: SeriesInstanceUID to take where a DICOM folder holds several.
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
    if hasattr(module, "read_segments"):
        mask = module.read_segments(source, grid, only=wanted, overlap=overlap)
        return mask if grid is None else on_grid(mask, grid)
    mask = module.read_mask(source, grid, volume) if "volumes" in row.can else module.read_mask(source, grid)
    mask = kept(mask, wanted, source)
    return mask if grid is None else on_grid(mask, grid)


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
        series: SeriesInstanceUID that was segmented, where several series of the reference have this grid.

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
    _load(row).write_mask(mask, target, WriteOptions(Path(reference) if reference else None, kind or None, series))


def write_image(image: Image, path: str | Path) -> None:
    """Write an image, whole or not at all; values, spacing and place as they are.

    Args:
        image: What to write.
        path: A .nii, .nii.gz, .nrrd or .mha file.

    Raises:
        OutputError: unknown suffix, values or a grid the format cannot hold, or the disk refused.
    """
    target = Path(path)
    _load(_row_for(target, "write_image")).write_image(image, target)


def check_writable(path: str | Path, *, reference: str | Path | None = None, format: str | None = None) -> None:
    """Refuse an output that write_mask would refuse, before any work is done for it.

    Raises:
        OutputError: unknown suffix or format, a DICOM object without the DICOM series it belongs to, or no folder to
            write into.
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
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OutputError(
            f"{target} cannot be written into {folder}", expected="a folder that may be written", fix="write elsewhere"
        )


def format_names(ability: str) -> list[str]:
    """Names of the formats that can "read_image", "read_mask" or "write_mask"."""
    return [row.name for row in FORMATS if ability in row.can]


def format_of(path: str | Path) -> Format:
    """The row that reads a file: as an image where it can, else as a mask.

    Raises:
        InputFileError: missing, empty or unknown.
    """
    source = _existing(path)
    lowered = source.name.lower()
    suffixes = {suffix: row for row in reversed(FORMATS) for suffix in row.suffixes if lowered.endswith(suffix)}
    if suffixes and not source.is_dir():
        return suffixes[max(suffixes, key=len)]
    return _row_for(source, "read_image")


def _existing(path: str | Path) -> Path:
    source = Path(path)
    if path == "" or not source.exists():  # an empty text is no way to say "this folder"
        raise InputFileError(
            f"{path or 'an empty path'} does not exist",
            expected="an existing file or DICOM folder",
            fix="check the path",
        )
    if source.is_file() and source.stat().st_size == 0:
        raise InputFileError(f"{source} is empty (0 bytes)", expected="an image file", fix="copy or export it again")
    return source


def _row_for(path: Path, ability: str, name: str | None = None) -> Format:
    rows = [row for row in FORMATS if ability in row.can]
    if name is not None:
        for row in rows:
            if row.name == name:
                return row
        raise OutputError(
            f"format is {name!r}", expected=f"one of {', '.join(r.name for r in rows)}", fix="choose one of them"
        )
    lowered = path.name.lower()
    matches = [(len(suffix), row) for row in rows for suffix in row.suffixes if lowered.endswith(suffix)]
    if matches and (ability.startswith("write") or not path.is_dir()):
        return max(matches, key=lambda match: match[0])[1]
    dicom = next((row for row in rows if row.name.startswith("dicom")), None)
    if dicom is not None and not ability.startswith("write") and _may_be_dicom(path):
        return dicom
    known = " ".join(sorted({suffix for row in rows for suffix in row.suffixes}))
    if ability.startswith("write"):
        raise OutputError(
            f"{path} has the suffix {path.suffix!r}",
            expected=f"one of {known}",
            fix="give it one of them, or name the format",
        )
    kind = "is a folder" if path.is_dir() else f"has the suffix {path.suffix!r} and holds {content(head(path, 540))}"
    raise InputFileError(
        f"{path} {kind}", expected=f"one of {known}", fix="rename it to its real format, or convert it"
    )


def _may_be_dicom(path: Path) -> bool:
    """DICOM comes as folders, and as files without a suffix or named by a UID, whose last number looks like one."""
    return path.is_dir() or not path.suffix or head(path, 132)[128:] == b"DICM"


def _refuse_no_volume(path: Path, row: Format, volume: int | None) -> None:
    if volume not in (None, 0) and "volumes" not in row.can:
        raise InputFileError(
            f"{path} holds no volume {volume}", expected=f"0: a {row.name} file holds one", fix="leave the volume out"
        )


def _load(row: Format) -> _Module:
    return cast(_Module, import_module(row.module))


def _grid(reference: Image | Grid | str | Path | None) -> Grid | None:
    if reference is None or isinstance(reference, Grid):
        return reference
    if isinstance(reference, Image):
        return reference.grid
    return read_image(reference, volume=0).grid  # all volumes of a file lie on one grid
