"""The one table of file formats, and the one answer to "what format is this name".

A new format is one module and one row. A module has the functions that its row claims (formats.py says which arguments).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medsam.errors import OutputError


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
    _row("nifti", ".nii .nii.gz", "volumes.nifti", "read_image write_image read_mask write_mask volumes"),
    _row("seg.nrrd", ".seg.nrrd", "volumes.nrrd_segments", "read_mask write_mask"),
    _row("nrrd", ".nrrd .nhdr", "volumes.nrrd", "read_image write_image read_mask write_mask volumes"),
    _row("metaimage", ".mha .mhd", "volumes.metaimage", "read_image write_image read_mask write_mask volumes"),
    _row("npz", ".npz", "volumes.npz", "read_image read_mask write_mask"),
    _row("png", ".png", "pictures.raster", "read_image read_mask write_mask"),
    _row("jpeg", ".jpg .jpeg", "pictures.raster", "read_image"),
    _row("tiff", ".tif .tiff", "pictures.tiff", "read_image read_mask write_mask volumes"),
    _row("bmp", ".bmp", "pictures.raster", "read_image read_mask"),
    _row("coco", ".json", "pictures.coco", "read_mask write_mask volumes"),
    _row("slide", ".svs .ndpi .scn .mrxs .bif .vms", "pictures.slides", "read_image"),
    _row("dicom", ".dcm .dicom .ima .zip", "dicom.image", "read_image"),
    _row("dicom-seg", ".dcm", "dicom.segmentation", "read_mask write_mask"),  # reads RTSTRUCT too
    _row("geojson", ".geojson", "outlines.geojson", "read_mask write_mask"),
    _row("stl", ".stl", "outlines.stl", "read_mask write_mask"),
    _row("rtstruct", "", "dicom.structure_set", "read_mask write_mask"),  # written by name: RTSTRUCT is .dcm as well
)


def find_suffix(path: str | Path, ability: str | None = None) -> str:
    """The longest suffix of the table that a name ends in, in lower case; "" where it ends in none.

    Args:
        path: A name; its case does not matter.
        ability: Only of formats that can do this, as "write_mask".
    """
    name = Path(path).name.lower()
    return max((suffix for suffix in list_suffixes(ability) if name.endswith(suffix)), key=len, default="")


def find_stem(path: str | Path) -> str:
    """The name without its suffix: "scan" for scan.nii.gz, and the whole name where the suffix is not known."""
    name = Path(path).name
    return name[: len(name) - len(find_suffix(path))]


def list_suffixes(ability: str | None = None, name: str | None = None) -> tuple[str, ...]:
    """The suffixes of the formats that can do something, or of the format of a name."""
    rows = (row for row in FORMATS if (ability is None or ability in row.can) and name in (None, row.name))
    return tuple(dict.fromkeys(suffix for row in rows for suffix in row.suffixes))


def find_format(path: str | Path, ability: str | None = None) -> Format | None:
    """The first row of a name's longest suffix; None where no row has it."""
    suffix = find_suffix(path, ability)
    rows = (row for row in FORMATS if suffix in row.suffixes and (ability is None or ability in row.can))
    return next(rows, None)


def find_named(name: str, ability: str) -> Format:
    """The row of a name, as "nifti" or "dicom-seg:LABELMAP".

    Raises:
        OutputError: none of the formats that can do this is called so.
    """
    rows = {row.name: row for row in FORMATS if ability in row.can}
    if name.partition(":")[0] not in rows:
        raise OutputError(f"format is {name!r}", expected=f"one of {', '.join(rows)}", fix="choose one of them")
    return rows[name.partition(":")[0]]


def find_suffix_of_format(name: str) -> str:
    """The suffix of masks in a format, which is named by itself ("nifti") or by a suffix ("nii.gz").

    Raises:
        OutputError: no format that masks can be written in.
    """
    suffix = f".{name.lstrip('.').lower()}"
    if suffix in list_suffixes("write_mask"):
        return suffix
    return next(iter(find_named(name, "write_mask").suffixes), ".dcm")  # an RTSTRUCT shares its suffix with SEG
