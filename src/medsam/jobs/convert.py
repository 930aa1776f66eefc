"""A mask or an image in another format: volumes whole, or one slice as a picture."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medsam.errors import OutputError, PromptError
from medsam.imaging.image import Image, Mask, find_slice_axis
from medsam.io.formats import check_writable, detect_format, read_image, read_mask, write_image, write_mask
from medsam.io.labels import is_mask_picture
from medsam.io.pictures.raster import save_picture
from medsam.io.placement import Overlap
from medsam.io.suffixes import find_suffix
from medsam.jobs.inputs import local_path, read_grid, read_scan, store_result
from medsam.jobs.options import FileOptions, IntensityOptions, MaskOptions, Plane
from medsam.jobs.outputs import check_outputs

Kind = Literal["mask", "image"]
PICTURES = (".png",)
log = logging.getLogger("medsam")


@dataclass(frozen=True)
class ConvertRequest:
    """What to convert.

    Args:
        source: File, DICOM folder or address of a series in a PACS.
        destination: Where to; the suffix names the format.
        kind: What the source is taken for.
        only: Names or numbers of structures to take; all without it.
        overlap: What happens where structures overlap.
        slice: The one slice to write.
        plane: Whose slice it is.
        file: Which image of the source.
        intensity: Of an image that becomes a picture.
        mask: How a mask is written.
    """

    source: Path
    destination: Path
    kind: Literal["auto", "mask", "image"] = "auto"
    only: tuple[str, ...] = ()
    overlap: Overlap = "refuse"
    slice: int | None = None
    plane: Plane | None = None
    file: FileOptions = FileOptions()
    intensity: IntensityOptions = IntensityOptions()
    mask: MaskOptions = MaskOptions()


@dataclass(frozen=True, eq=False)
class ConvertResult:
    """What was written: a mask or an image."""

    destination: Path
    written: Mask | Image


def convert(request: ConvertRequest) -> ConvertResult:
    """Convert a mask or an image.

    Raises:
        MedsamError: a file that cannot be read as that kind, or a destination that cannot hold it.
    """
    destination, reference = request.destination, request.mask.reference
    check_outputs([destination], [request.source, reference], overwrite=request.mask.overwrite)
    with local_path(request.source) as path:
        kind = request.kind if request.kind != "auto" else _kind(path, request)
        if kind == "mask":
            with local_path(reference or path) as local:
                return ConvertResult(destination, _convert_mask(path, request, local if reference else None))
        if request.slice is not None or find_suffix(destination) in PICTURES:
            return ConvertResult(destination, _convert_slice(path, request))
        file = request.file
        image = read_image(path, series=file.series, geometry=file.geometry, volume=file.volume)
        write_image(image, destination)
        return ConvertResult(destination, image)


def _convert_mask(path: Path, request: ConvertRequest, reference: Path | None) -> Mask:
    destination, file, options = request.destination, request.file, request.mask
    check_writable(destination, reference=reference, format=options.format, series=file.series)
    grid = None if reference is None else read_grid(reference, file)
    mask = read_mask(path, reference=grid, only=request.only or None, overlap=request.overlap, volume=file.volume)
    if request.slice is not None:
        sliced = mask.move_axis(find_slice_axis(mask.grid, request.plane or 0))
        _check_slice(request.slice, sliced.grid.shape[0])
        mask = sliced.slice_at(request.slice)
    if find_suffix(destination) in PICTURES and mask.grid.shape[0] > 1:
        raise OutputError(
            f"{request.source} has {mask.grid.shape[0]} slices and {destination} holds one",
            expected="a slice",
            fix="pass --slice K, and --kind image or mask where both would do",
        )
    write_mask(mask, destination, reference=reference, format=options.format, series=file.series)
    if options.reference is not None:
        store_result(options.reference, destination)
    return mask


def _convert_slice(path: Path, request: ConvertRequest) -> Image:
    """One slice of an image, its values brought to 0 to 255 as a model would see them."""
    if find_suffix(request.destination) not in PICTURES:
        raise OutputError(
            f"one slice of an image as {request.destination}",
            expected=f"a name that ends in {', '.join(PICTURES)}",
            fix="name it .png, or leave --slice out",
        )
    image = read_scan(path, request.file, request.intensity, request.plane).sliced
    depth = image.grid.shape[0]
    index = request.slice
    if index is None and depth > 1:
        raise PromptError(f"no slice of {depth}", expected=f"one from 0 to {depth - 1}", fix="pass --slice K")
    index = index or 0
    _check_slice(index, depth)
    shown = image.slice_at(index)
    save_picture(request.destination, shown.values[0])
    return shown


def _check_slice(index: int, depth: int) -> None:
    if not 0 <= index < depth:
        raise PromptError(f"slice is {index}", expected=f"0 to {depth - 1}", fix="choose a slice of the image")


def _kind(path: Path, request: ConvertRequest) -> Kind:
    """What to take a source for: an image where it can be one and the destination can hold one."""
    from medsam.io.dicom.segmentation import holds_mask

    target = request.destination
    holds_image = find_suffix(target, "write_image") or (request.slice is not None and find_suffix(target) in PICTURES)
    row = detect_format(path)
    is_mask = "read_image" not in row.can or (row.name == "dicom" and holds_mask(path))
    as_mask = bool(request.only) or request.mask.reference is not None or bool(request.mask.format)
    if is_mask or as_mask or find_suffix(target) == ".seg.nrrd" or not holds_image:  # it ends in .nrrd, of images, too
        return "mask"
    values = read_image(path, volume=request.file.volume).values if row.name in ("png", "bmp", "tiff") else None
    if values is not None and is_mask_picture(values) and (row.name != "tiff" or values.dtype == np.uint8):
        log.warning("%s holds 0 and white alone: taken as a mask; --kind image keeps the values", request.source)
        return "mask"
    return "image"
