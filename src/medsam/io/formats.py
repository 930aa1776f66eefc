"""The one table of file formats, and reading and writing by suffix.

A module named in the table has the functions its row claims: read_image(path, options), read_mask(path, reference),
write_mask(mask, path, options). A new format is one module and one row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from medsam.errors import InputFileError, OutputError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.modality import Modality, parse_modality

Geometry = Literal["refuse", "resample"]


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may need to be told.

    Args:
        series: DICOM SeriesInstanceUID to take where a folder holds several.
        geometry: "refuse" a gapped or tilted DICOM series, or "resample" it onto a regular grid.
        modality: Set when the caller knows it; readers of formats without a modality need not look.
    """

    series: str | None = None
    geometry: Geometry = "refuse"
    modality: Modality | None = None


@dataclass(frozen=True)
class WriteOptions:
    """What a writer may need to be told.

    Args:
        reference: The image file or DICOM series the mask belongs to; DICOM SEG and RTSTRUCT need it.
        kind: Variant of the format, such as "BINARY", "LABELMAP" or "FRACTIONAL" for DICOM SEG.
    """

    reference: Path | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Format:
    """One row of the table."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    can: frozenset[str]  # of "read_image", "read_mask", "write_mask"


def _row(name: str, suffixes: str, module: str, can: str) -> Format:
    return Format(name, tuple(suffixes.split()), f"medsam.io.{module}", frozenset(can.split()))


FORMATS = (
    _row("nifti", ".nii .nii.gz", "nifti", "read_image read_mask write_mask"),
    _row("seg.nrrd", ".seg.nrrd", "segnrrd", "read_mask write_mask"),
    _row("nrrd", ".nrrd .nhdr", "itk", "read_image read_mask write_mask"),
    _row("metaimage", ".mha .mhd", "itk", "read_image read_mask write_mask"),
    _row("npz", ".npz", "npz", "read_image read_mask write_mask"),
    _row("png", ".png", "raster", "read_image read_mask write_mask"),
    _row("jpeg", ".jpg .jpeg", "raster", "read_image"),
    _row("tiff", ".tif .tiff", "raster", "read_image read_mask write_mask"),
    _row("bmp", ".bmp", "raster", "read_image read_mask"),
    _row("coco", ".json", "coco", "read_mask write_mask"),
    _row("dicom", ".dcm .dicom .zip", "dicom", "read_image"),
)


class _Module(Protocol):
    def read_image(self, path: Path, options: ReadOptions) -> Image: ...
    def read_mask(self, path: Path, reference: Grid | None) -> Mask: ...
    def write_mask(self, mask: Mask, path: Path, options: WriteOptions) -> None: ...
