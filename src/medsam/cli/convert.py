"""`medsam convert`: masks between all formats, and images to NIfTI, NRRD and MetaImage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from medsam.imaging.image import Grid, Mask


def convert(
    source: Path,
    destination: Path,
    /,
    *,
    reference: Path | None = None,
    format: str | None = None,
    kind: Literal["auto", "mask", "image"] = "auto",
    only: Annotated[list[str], Parameter(negative=())] = [],  # noqa: B006 - cyclopts reads it
    overlap: Literal["refuse", "first", "last"] = "refuse",
    series: str | None = None,
    geometry: Literal["refuse", "resample"] = "refuse",
    volume: int | None = None,
) -> None:
    """Convert a mask or an image to the format that the destination's suffix names.

    Parameters
    ----------
    source
        A mask (.nii.gz, .nrrd, .seg.nrrd, .mha, .png, .npz, COCO .json, .geojson, .stl, DICOM SEG or RTSTRUCT .dcm) or
        an image (a DICOM folder, NIfTI, NRRD, ...).
    destination
        Where to. Images go to .nii, .nii.gz, .nrrd and .mha.
    reference
        The image the mask belongs to: DICOM SEG and RTSTRUCT need its series; contours, surfaces and polygons its grid.
    format
        Format where the suffix does not tell it: rtstruct, dicom-seg:LABELMAP, dicom-seg:FRACTIONAL, stl:per-label.
    kind
        What the source is, where both would do; files between NIfTI, NRRD and MHA are copied as images without it.
    only
        Name or number of a structure to take, again and again; all of them without it.
    overlap
        Where structures overlap: refuse, or the first or the last of the file wins.
    series
        SeriesInstanceUID to take from a DICOM folder that holds several.
    geometry
        Refuse DICOM series with gaps or tilt, or resample them onto a regular grid.
    volume
        Which volume of a source that holds several, from 0.
    """
    from medsam.cli.outputs import refuse_overwriting
    from medsam.io.formats import check_writable, read_image, read_mask, write_image, write_mask

    refuse_overwriting([destination], [source, reference])
    chosen = kind if kind != "auto" else _kind(source, destination, format, masks=bool(only) or reference is not None)
    if chosen == "image":
        image = read_image(source, series=series, geometry=geometry, volume=volume)
        write_image(image, destination)
        shape = " x ".join(str(n) for n in image.grid.shape)
        print(f"{destination}: image, {shape} voxels, {image.values.dtype}")
        return
    check_writable(destination, reference=reference, format=format)
    grid: Grid | None = None
    if reference is not None:
        grid = read_image(reference, series=series, geometry=geometry, volume=0).grid
    mask = read_mask(source, reference=grid, only=only or None, overlap=overlap, volume=volume)
    write_mask(mask, destination, reference=reference, format=format, series=series)
    print(_line(destination, mask))


def _kind(source: Path, destination: Path, format: str | None, *, masks: bool) -> Literal["mask", "image"]:
    """What to take a source for: an image where it can be one and the destination can hold one."""
    from medsam.io.dicom_seg import holds_mask
    from medsam.io.formats import FORMATS, format_of

    target = destination.name.lower()
    holds_image = any("write_image" in row.can and target.endswith(row.suffixes) for row in FORMATS)
    row = format_of(source)
    is_mask = "read_image" not in row.can or (row.name == "dicom" and holds_mask(source))
    if is_mask or masks or format or target.endswith(".seg.nrrd") or not holds_image:
        return "mask"
    return "image"


def _line(destination: Path, mask: Mask) -> str:
    shape = " x ".join(str(n) for n in mask.grid.shape)
    labels = ", ".join(f"{i} {mask.names.get(i, '')}".strip() for i in mask.ids[:8]) or "none"
    more = f" and {len(mask.ids) - 8} more" if len(mask.ids) > 8 else ""
    return f"{destination}: mask, {shape} voxels, labels {labels}{more}"
