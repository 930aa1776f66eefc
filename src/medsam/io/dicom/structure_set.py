"""DICOM RT Structure Set: our own writer on pydicom, and a reader for our files and others'.

Contours follow the pixels' own edges, so that filling them by pixel centres gives the same voxels back; holes are
joined to their outer ring by keyholes, as CLOSED_PLANAR asks. Readers that round to pixels also meet the right ones,
because the contours lie a thousandth of a pixel inside. Written as Implicit VR: a long contour does not fit an explicit
DS.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, generate_uid

from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Mask
from medsam.imaging.palette import choose_color
from medsam.io.codes import ANATOMICAL, Code, find_coding, read_name, write_name
from medsam.io.dicom.attributes import SANE, read_parts, read_text, require_whole, to_numbers
from medsam.io.dicom.files import PARSE_ERRORS, RECOPY, guard_parsing, read_object, silence_parser
from medsam.io.dicom.header_repair import STUDY_KEYWORDS, repair_headers, require_identity
from medsam.io.dicom.planes import Plane
from medsam.io.dicom.source import ReferenceSeries, check_source, derive_series_number, match_source
from medsam.io.formats import WriteOptions
from medsam.io.outlines.contours import fill, join_holes, shrink, trace
from medsam.io.placement import LabelPainter, Overlap, Segment, choose_segments

KIND = "RTSTRUCT"
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
CONTOUR_DATA = Tag("ContourData")
INSET_PX = 1e-3
# INTERPOLATED_PLANAR is no term of the standard; exporters write it of rings between drawn ones.
CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR", "INTERPOLATED_PLANAR"})
OPEN = frozenset({"POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"})
CODE_STRING = re.compile(r"[A-Z0-9_]{1,16}|[A-Z]+_[A-Z_]{1,24}")
OFF_PLANE = 0.1  # share of the slice distance that a contour of another program may lie off its slice


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write a structure set with one region of interest per label; its number is the label id.

    Args:
        mask: Labels on the grid of the series.
        path: The .dcm file.
        options: reference is the source series.

    Raises:
        OutputError: no reference, no foreground, or a source without a place in the patient.
        GeometryError: the mask lies on another grid.
    """
    ids = mask.ids
    if not ids:
        raise OutputError("the mask is empty", expected="foreground to draw contours around", fix="write it as .nii.gz")
    source = match_source(mask, options.reference, KIND, series=options.series)
    with silence_parser():
        dataset = build_object(source, ids)
        with replacing(path) as temporary, disable_value_validation():
            dataset.save_as(temporary, enforce_file_format=True)


def build_object(source: ReferenceSeries, ids: Sequence[int]) -> Dataset:
    """Build the structure set of the mask on a series.

    Args:
        source: The series with the mask on it.
        ids: Labels of the mask that become regions of interest.

    Raises:
        OutputError: a source without a place in the patient.
    """
    if not source.placed:
        raise OutputError(
            "the source image has no place in the patient",
            expected="slices with a position and an orientation",
            fix="write a DICOM SEG instead",
        )
    require_identity(source.headers, KIND, placed=True)
    header = repair_headers(source.headers[:1])[0]
    with disable_value_validation():  # what is carried over was repaired, and identifiers are repeated as they are
        return _filled(source, ids, header)


check_reference = partial(check_source, KIND, build_object)


def _filled(source: ReferenceSeries, ids: Sequence[int], header: Dataset) -> Dataset:
    now, frame = datetime.datetime.now(), str(header.FrameOfReferenceUID)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*STUDY_KEYWORDS, "StudyInstanceUID", "StudyDescription", "PatientAge", "PatientWeight"):
        if keyword in STUDY_KEYWORDS or keyword in header:
            setattr(dataset, keyword, header.get(keyword, ""))
    dataset.SOPClassUID, dataset.SOPInstanceUID = SOP_CLASS, generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "RTSTRUCT"
    dataset.SeriesNumber, dataset.InstanceNumber = derive_series_number(header), 1
    dataset.SeriesDescription, dataset.OperatorsName = "Segmentation", ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "openmedsam", "medsam"
    dataset.FrameOfReferenceUID = frame
    dataset.PositionReferenceIndicator = header.get("PositionReferenceIndicator", "")
    dataset.StructureSetLabel = "SEGMENTATION"
    for keyword in ("StructureSet", "InstanceCreation", "Series"):
        setattr(dataset, f"{keyword}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{keyword}Time", now.strftime("%H%M%S"))
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source, header, frame)]
    dataset.StructureSetROISequence = [_roi(label, source.mask, frame) for label in ids]
    dataset.ROIContourSequence = [_contours(label, source) for label in ids]
    dataset.RTROIObservationsSequence = [_observation(n, label, source.mask) for n, label in enumerate(ids, start=1)]
    return dataset


def _items(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _frame_of_reference(source: ReferenceSeries, header: Dataset, frame: str) -> Dataset:
    series = _items(
        SeriesInstanceUID=header.SeriesInstanceUID, ContourImageSequence=[_image(plane) for plane in source.planes]
    )
    study = _items(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=header.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _items(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])


def _image(plane: Plane) -> Dataset:
    header = plane.instance.header
    item = _items(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    if int(header.get("NumberOfFrames") or 1) > 1:
        item.ReferencedFrameNumber = plane.frame + 1
    return item


def _roi(label: int, mask: Mask, frame: str) -> Dataset:
    return _items(
        ROINumber=label,
        ReferencedFrameOfReferenceUID=frame,
        ROIName=write_name(label, mask.names)[:64],
        ROIGenerationAlgorithm="SEMIAUTOMATIC",
    )


def _contours(label: int, source: ReferenceSeries) -> Dataset:
    mask = source.mask
    item = _items(ROIDisplayColor=list(choose_color(label, mask.colors)), ReferencedROINumber=label)
    contours: list[Dataset] = []
    for k, plane in enumerate(source.frames):
        region = mask.labels[k] == label
        if not region.any():
            continue
        for polygon in trace(region):
            ring = join_holes(shrink(polygon, INSET_PX)) - 0.5
            world = mask.grid.to_world(np.column_stack([np.full(len(ring), k), ring[:, 1], ring[:, 0]]))
            contour = _items(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=len(ring))
            contour[CONTOUR_DATA] = _decimals(world)
            if plane is not None:
                contour.ContourImageSequence = [_image(plane)]
            contour.ContourNumber = len(contours) + 1
            contours.append(contour)
    item.ContourSequence = contours
    return item


def _decimals(world_N3: NDArray[np.float64]) -> RawDataElement:
    """Coordinates to a nanometre, every one within the 16 bytes that DS allows; encoded here because it is much faster."""
    text = "\\".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in world_N3.ravel().tolist())
    data = (text + " " * (len(text) % 2)).encode()
    return RawDataElement(CONTOUR_DATA, "DS", len(data), data, 0, True, True)


def _ring_of(contour: Dataset, name: str) -> NDArray[np.float64]:
    """(P, 3) LPS mm; from the stored bytes where pydicom has not unpacked them, which is much faster."""
    element = contour.get_item(CONTOUR_DATA)
    values = element.value if element is not None else None
    parts = values.replace(b",", b".").split(b"\\") if isinstance(values, bytes) else values
    if parts is None or len(parts) == 0 or (len(parts) == 1 and not str(parts[0], "ascii").strip(" \0")):
        return np.empty((0, 3))
    try:
        numbers = np.array(parts, dtype=np.float64)
    except ValueError:
        numbers = np.array([np.nan])
    if len(numbers) % 3 or not (np.abs(numbers) < SANE).all():
        raise InputFileError(
            f"{name} has ContourData that are not points of three numbers", expected="x, y and z in mm", fix=RECOPY
        )
    return numbers.reshape(-1, 3)


def _observation(number: int, label: int, mask: Mask) -> Dataset:
    stated = mask.codes.get(label)
    meaning = find_coding(write_name(label, mask.names), stated)
    item = _items(ObservationNumber=number, ReferencedROINumber=label)
    if stated is not None or meaning.kind.scheme == "SCT":
        item.RTROIIdentificationCodeSequence = [_code(meaning.kind)]
    item.RTROIInterpretedType = "ORGAN" if meaning.category == ANATOMICAL else ""
    item.ROIInterpreter = ""
    return item


def _code(code: Code) -> Dataset:
    return _items(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)


def is_structure_set(path: Path) -> bool:
    """Whether a DICOM file is an RTSTRUCT, from its file meta information or the start of its data."""
    with silence_parser():
        try:
            kind = read_file_meta_info(path).get("MediaStorageSOPClassUID")
            kind = kind or read_object(path, last="SOPClassUID").get("SOPClassUID")
        except (*PARSE_ERRORS, InputFileError):
            return False
    return str(kind) == SOP_CLASS


def read_segments(
    path: Path, reference: Grid | None, *, only: Sequence[str] | None = None, overlap: Overlap = "refuse"
) -> Mask:
    """Fill the contours of some regions of interest, or all; those without closed contours are passed over.

    Args:
        path: An RTSTRUCT.
        reference: Grid of the image; contours have none of their own.
        only: Names or numbers to take.
        overlap: What happens to voxels of two regions: "refuse", or the "first" or "last" of them wins.

    Raises:
        InputFileError: damaged, no contours, or regions overlap.
        GeometryError: no reference, or contours that do not lie on its slices.
    """
    if reference is None or reference.spacing_mm is None:
        raise GeometryError(
            f"{path.name} holds contours without a grid",
            expected="the image they were drawn on",
            fix="pass reference= (--reference)",
        )
    with silence_parser(), guard_parsing(path.name):
        regions = _read(path)
    wanted = choose_segments([region.segment for region in regions], only, path)
    painter = LabelPainter(reference, wanted, overlap=overlap)
    for region in regions:
        if region.segment not in wanted:
            continue
        _refuse_unknown(region, path)
        rank = wanted.index(region.segment)
        for axis, k, flat in _by_slice(region, reference, path):
            rows, columns = (n for i, n in enumerate(reference.shape) if i != axis)
            where = tuple(k if i == axis else slice(None) for i in range(3))
            painter.paint(where, fill(flat, rows, columns), rank)
    return painter.finish(path)


@dataclass(frozen=True, eq=False)
class _Region:
    """A region of interest: its rings, (P, 3) LPS mm, the image that each lies on ("" if none is named), and other types."""

    segment: Segment
    rings: tuple[NDArray[np.float64], ...]
    images: tuple[str, ...]
    unknown: frozenset[str]


def _read(path: Path) -> list[_Region]:
    dataset = read_object(path)
    names = {
        require_whole(item, "ROINumber", path.name): read_text(item, "ROIName")
        for item in dataset.get("StructureSetROISequence") or ()
    }
    regions = []
    for item in dataset.get("ROIContourSequence") or ():
        number = require_whole(item, "ReferencedROINumber", path.name)
        label = number if number > 0 else max(names, default=0) + 1
        color = to_numbers(read_parts(item, "ROIDisplayColor"))
        shade = (
            tuple(int(c) for c in color) if color and len(color) == 3 and 0 <= min(color) <= max(color) < 256 else None
        )
        segment = Segment(label, read_name(label, names.get(number, "")), shade)  # type: ignore[arg-type]
        region = _region(segment, item.get("ContourSequence") or (), path.name)
        if region.rings or region.unknown:
            regions.append(region)
    if not regions:
        raise InputFileError(f"{path.name} has no closed contours", expected="regions of interest", fix=RECOPY)
    return regions


def _region(segment: Segment, contours: Iterable[Dataset], name: str) -> _Region:
    rings, images, unknown = [], [], set()
    for contour in contours:
        kind = read_text(contour, "ContourGeometricType")
        ring = _ring_of(contour, name) if kind not in OPEN else np.empty((0, 3))
        if len(ring) < 3:
            continue  # without an inside
        if kind not in CLOSED:
            unknown.add(kind)
            continue
        rings.append(ring)
        images.append("+".join(_image_name(image) for image in contour.get("ContourImageSequence") or ()))
    return _Region(segment, tuple(rings), tuple(images), frozenset(unknown))


def _image_name(image: Dataset) -> str:
    return f"{read_text(image, 'ReferencedSOPInstanceUID')}/{read_text(image, 'ReferencedFrameNumber')}"


def _refuse_unknown(region: _Region, path: Path) -> None:
    if region.unknown:
        kinds = sorted(kind if CODE_STRING.fullmatch(kind) else "without a valid type" for kind in region.unknown)
        raise InputFileError(
            f"{path.name} has contours {', '.join(kinds)} in region {region.segment.label}",
            expected=f"closed contours ({', '.join(sorted(CLOSED))}), or points and open ones, which have no inside",
            fix="export the region as CLOSED_PLANAR, or leave it out with only= (--only)",
        )


def _by_slice(region: _Region, grid: Grid, path: Path) -> Iterator[tuple[int, int, list[NDArray[np.float64]]]]:
    """Axis and slice of the grid that the rings of a region lie on, and the rings there in corner coordinates."""
    rings = [grid.to_index(ring) for ring in region.rings]  # (P, 3) z y x
    axis = min(
        range(3), key=lambda a: max(float(np.abs(ring[:, a] - np.rint(ring[:, a].mean())).max()) for ring in rings)
    )
    slices: dict[int, list[NDArray[np.float64]]] = {}
    images: dict[int, set[str]] = {}
    for ring, image in zip(rings, region.images, strict=True):
        k = round(float(ring[:, axis].mean()))
        off = float(np.abs(ring[:, axis] - k).max())
        flat = np.delete(ring, axis, axis=1)[:, ::-1] + 0.5
        limits = np.array([n for i, n in enumerate(grid.shape) if i != axis])[::-1]
        if off > OFF_PLANE or not 0 <= k < grid.shape[axis] or (flat < -1).any() or (flat > limits + 1).any():
            raise GeometryError(
                f"{path.name} has a contour at slice {k}, up to {off:.2g} slices off it, x {flat[:, 0].min():.1f} to "
                f"{flat[:, 0].max():.1f}, y {flat[:, 1].min():.1f} to {flat[:, 1].max():.1f} pixels",
                expected=f"contours on the slices of the reference of shape {grid.shape}",
                fix="pass the image they were drawn on as reference",
            )
        slices.setdefault(k, []).append(flat)
        images.setdefault(k, set()).add(image)
    _refuse_phases(images, path)
    for k, flats in slices.items():
        yield axis, k, flats


def _refuse_phases(images: dict[int, set[str]], path: Path) -> None:
    """Refuse rings of several images on one slice: filled together they would be no phase of any."""
    mixed = sum(len(found - {""}) > 1 for found in images.values())
    if mixed:
        raise InputFileError(
            f"{path.name} has contours of several images (ContourImageSequence) on each of {mixed} slices",
            expected="contours of one image per slice, not of several phases of one place",
            fix="export the structures of one phase at a time",
        )
