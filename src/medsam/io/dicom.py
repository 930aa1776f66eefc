"""Read DICOM images: one file, a folder, a zip, or data sets from an archive. See docs/dicom.md for the rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medsam.errors import InputFileError, IntensityError
from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality, Window, parse_modality
from medsam.io.dicom_files import Instance, quiet, read_contents, untrusted
from medsam.io.dicom_geometry import grid_of, grid_without_place, has_place
from medsam.io.dicom_pixels import value_range, values_of
from medsam.io.dicom_planes import Plane
from medsam.io.dicom_resample import resample, upright_grid
from medsam.io.dicom_series import (
    Group,
    SeriesSummary,
    choose_group,
    group_planes,
    headers,
    refuse_incomplete,
    series_of,
    source_datasets,
)
from medsam.io.formats import Geometry, ReadOptions

__all__ = ["SeriesSummary", "headers", "read_image", "read_series", "series_of", "source_datasets"]

OTHER_KINDS = {
    "SEG": ("a segmentation", "read it with read_mask"),
    "RTDOSE": ("a dose", "pass the folder of the images it belongs to"),
}


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read one DICOM image or volume.

    Args:
        path: A file, a folder (searched with its folders; other files are passed over) or a zip.
        options: series chooses where several are there; geometry "resample" accepts gaps and tilt.

    Returns:
        An Image; slices sorted along their normal, modality LUT applied, the file's own window kept.

    Raises:
        InputFileError: not DICOM, damaged, or several series and none chosen.
        GeometryError: the slices do not make a regular volume.
    """
    with quiet():
        contents = read_contents(path)
        groups = group_planes(contents.instances)
        group = choose_group(groups, options.series, path.name)
        alone = len(contents.instances) == 1 and path.is_file()
        if options.geometry == "refuse" and not alone:
            refuse_incomplete(group, groups)
        return _image(group, options.geometry)


def read_series(datasets: Sequence[Dataset], *, series: str | None = None, geometry: Geometry = "refuse") -> Image:
    """Make an image of DICOM data sets in memory, as an archive sends them.

    Args:
        datasets: Objects with pixels, in any order; each with its file meta information.
        series: As in read_image.
        geometry: As in read_image.

    Raises:
        InputFileError, GeometryError: as read_image.
    """
    if not datasets:
        raise InputFileError("no data sets", expected="at least one DICOM object", fix="check the query")
    with quiet():
        instances = [_instance(dataset, number) for number, dataset in enumerate(datasets, start=1)]
        return _image(choose_group(group_planes(instances), series, "the series"), geometry)


def _instance(dataset: Dataset, number: int) -> Instance:
    name = f"object {number}"
    with untrusted(name):
        pixels = dataset.get("PixelData") or dataset.get("FloatPixelData") or dataset.get("DoubleFloatPixelData")
        if not pixels:
            raise InputFileError(f"{name} has no pixels", expected="a DICOM image", fix="fetch the whole object")
        encapsulated = dataset["PixelData"].is_undefined_length if "PixelData" in dataset else False
        meta = getattr(dataset, "file_meta", None)
        if meta is not None and "TransferSyntaxUID" in meta:
            encapsulated = meta.TransferSyntaxUID.is_compressed
        return Instance(name, dataset, len(pixels), bool(encapsulated), lambda: dataset)


def _image(group: Group, geometry: Geometry) -> Image:
    planes = group.planes
    kind = group.summary.modality
    if kind in OTHER_KINDS:
        what, fix = OTHER_KINDS[kind]
        raise InputFileError(f"{planes[0].instance.name} is {what}", expected="an image", fix=fix)
    if not has_place(planes):
        values, grid = values_of(planes), grid_without_place(planes)
    elif geometry == "refuse" or len(planes) == 1:
        grid = grid_of(planes)
        values = values_of(planes)
    else:
        values, grid = _resampled(planes)
    return Image(values, grid, modality=_modality(kind), window=_window(planes))


def _resampled(planes: Sequence[Plane]) -> tuple[np.ndarray, Grid]:
    upright = upright_grid(planes)
    values = values_of(planes)
    still = upright.grid.shape == values.shape[:3] and np.abs(upright.shifts).max() < 1e-3
    regular = np.abs(upright.places - np.arange(len(planes))).max() < 1e-4
    return (values if still and regular else resample(values, upright)), upright.grid


def _modality(code: str) -> Modality | None:
    try:
        return parse_modality(code)
    except IntensityError:
        return None


def _window(planes: Sequence[Plane]) -> Window | None:
    """The middle slice's first window, turned with the values where white was low."""
    plane = planes[len(planes) // 2]
    header = plane.instance.header
    with untrusted(plane.instance.name):
        if plane.window is None or plane.shape[2] != 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
            return None
        if header.get("PhotometricInterpretation") != "MONOCHROME1" or header.get("ModalityLUTSequence"):
            return plane.window
        return Window(plane.window.width, sum(value_range(header, plane)) - plane.window.level)
