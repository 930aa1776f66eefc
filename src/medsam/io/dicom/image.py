"""Read DICOM images: one file, a folder, a zip, or data sets from an archive. See docs/dicom.md for the rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medsam.errors import InputFileError, IntensityError
from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality, Window, parse_modality
from medsam.io.dicom.files import Instance, guard_parsing, read_contents, silence_parser
from medsam.io.dicom.geometry import has_place, make_grid_without_place, measure_grid
from medsam.io.dicom.grouping import FrameGroup, group_planes
from medsam.io.dicom.pixels import find_value_range, read_values
from medsam.io.dicom.planes import Plane
from medsam.io.dicom.resample import plan_upright_grid, resample
from medsam.io.dicom.series import choose_group, refuse_incomplete
from medsam.io.formats import Geometry, ReadOptions

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
    with silence_parser():
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
    with silence_parser():
        instances = [_instance(dataset, number) for number, dataset in enumerate(datasets, start=1)]
        return _image(choose_group(group_planes(instances), series, "the series"), geometry)


def _instance(dataset: Dataset, number: int) -> Instance:
    name = f"object {number}"
    with guard_parsing(name):
        pixels = dataset.get("PixelData") or dataset.get("FloatPixelData") or dataset.get("DoubleFloatPixelData")
        if not pixels:
            raise InputFileError(f"{name} has no pixels", expected="a DICOM image", fix="fetch the whole object")
        encapsulated = dataset["PixelData"].is_undefined_length if "PixelData" in dataset else False
        meta = getattr(dataset, "file_meta", None)
        if meta is not None and "TransferSyntaxUID" in meta:
            encapsulated = meta.TransferSyntaxUID.is_compressed
        return Instance(name, dataset, len(pixels), bool(encapsulated), lambda: dataset)


def _image(group: FrameGroup, geometry: Geometry) -> Image:
    planes = group.planes
    kind = group.summary.modality
    if kind in OTHER_KINDS:
        what, fix = OTHER_KINDS[kind]
        raise InputFileError(f"{planes[0].instance.name} is {what}", expected="an image", fix=fix)
    if not has_place(planes):
        values, grid = read_values(planes), make_grid_without_place(planes)
    elif geometry == "refuse" or len(planes) == 1:
        grid = measure_grid(planes)
        values = read_values(planes)
    else:
        values, grid = _resampled(planes)
    return Image(values, grid, modality=_modality(kind), window=_window(planes))


def _resampled(planes: Sequence[Plane]) -> tuple[np.ndarray, Grid]:
    upright = plan_upright_grid(planes)
    values = read_values(planes)
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
    with guard_parsing(plane.instance.name):
        if plane.window is None or plane.shape[2] != 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
            return None
        if header.get("PhotometricInterpretation") != "MONOCHROME1" or header.get("ModalityLUTSequence"):
            return plane.window
        return Window(plane.window.width, sum(find_value_range(header, plane)) - plane.window.level)
