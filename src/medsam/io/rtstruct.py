"""DICOM RT Structure Set: our own writer on pydicom, and a reader for our files and others'.

Contours follow the pixels' own edges, so that filling them by pixel centres gives the same voxels back; holes are
joined to their outer ring by keyholes, as CLOSED_PLANAR asks. Readers that round to pixels also meet the right ones,
because the contours lie a thousandth of a pixel inside. Written as Implicit VR: a long contour does not fit an explicit
DS.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.atomic import replacing
from medsam.io.coded import ANATOMICAL, Code, coding, color_of, name_of, stated_name
from medsam.io.contours import fill, inset, keyhole, outlines
from medsam.io.dicom_files import PARSE_ERRORS, RECOPY, quiet, untrusted
from medsam.io.dicom_planes import Plane
from medsam.io.dicom_source import STUDY_KEYWORDS, Source, match_source, series_number
from medsam.io.formats import WriteOptions
from medsam.io.placement import LabelPainter, Overlap, Segment, chosen

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
CONTOUR_DATA = Tag("ContourData")
INSET_PX = 1e-3
CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"})
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
    with quiet():
        source = match_source(mask, options.reference, "RTSTRUCT", series=options.series)
        frame = source.planes[0].instance.header.get("FrameOfReferenceUID")
        if not source.placed or not frame:
            raise OutputError(
                "the source image has no place in the patient",
                expected="slices with a position, an orientation and a frame of reference",
                fix="write a DICOM SEG instead",
            )
        dataset = _structure_set(source, ids, str(frame))
        with replacing(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)


def _structure_set(source: Source, ids: Sequence[int], frame: str) -> Dataset:
    now = datetime.datetime.now()
    header = source.planes[0].instance.header
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*STUDY_KEYWORDS, "StudyInstanceUID", "StudyDescription", "PatientAge", "PatientWeight"):
        if keyword in STUDY_KEYWORDS or keyword in header:
            setattr(dataset, keyword, header.get(keyword, ""))
    dataset.SOPClassUID, dataset.SOPInstanceUID = SOP_CLASS, generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality = generate_uid(), "RTSTRUCT"
    dataset.SeriesNumber, dataset.InstanceNumber = series_number(header), 1
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


def _frame_of_reference(source: Source, header: Dataset, frame: str) -> Dataset:
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
        ROIName=name_of(label, mask.names)[:64],
        ROIGenerationAlgorithm="SEMIAUTOMATIC",
    )


def _contours(label: int, source: Source) -> Dataset:
    mask = source.mask
    item = _items(ROIDisplayColor=list(mask.colors.get(label, color_of(label))), ReferencedROINumber=label)
    contours: list[Dataset] = []
    for k, plane in enumerate(source.frames):
        region = mask.labels[k] == label
        if not region.any():
            continue
        for polygon in outlines(region):
            ring = keyhole(inset(polygon, INSET_PX)) - 0.5
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


def _ring_of(contour: Dataset) -> NDArray[np.float64]:
    """(P, 3) LPS mm; from the stored bytes where pydicom has not unpacked them, which is much faster."""
    element = contour.get_item(CONTOUR_DATA)
    values = element.value if element is not None else None
    numbers = values.split(b"\\") if isinstance(values, bytes) else values
    return np.array(numbers, dtype=np.float64).reshape(-1, 3)


def _observation(number: int, label: int, mask: Mask) -> Dataset:
    meaning = coding(name_of(label, mask.names))
    item = _items(ObservationNumber=number, ReferencedROINumber=label)
    if meaning.kind.scheme == "SCT":
        item.RTROIIdentificationCodeSequence = [_code(meaning.kind)]
    item.RTROIInterpretedType = "ORGAN" if meaning.category == ANATOMICAL else ""
    item.ROIInterpreter = ""
    return item


def _code(code: Code) -> Dataset:
    return _items(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning)


def is_structure_set(path: Path) -> bool:
    """Whether a DICOM file is an RTSTRUCT, from its file meta information or the start of its data."""
    with quiet():
        try:
            kind = read_file_meta_info(path).get("MediaStorageSOPClassUID")
            kind = kind or dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True, force=True).get(
                "SOPClassUID"
            )
        except PARSE_ERRORS:
            return False
    return str(kind) == SOP_CLASS


def read_mask(path: Path, reference: Grid | None) -> Mask:
    """Fill the contours of all regions of interest on the reference's slices."""
    return read_segments(path, reference)


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
    with quiet(), untrusted(path.name):
        segments, rings = _read(path)
    wanted = chosen(segments, only, path)
    painter = LabelPainter(reference, wanted, overlap=overlap)
    for rank, segment in enumerate(wanted):
        for axis, k, flat in _by_slice([reference.to_index(ring) for ring in rings[segment.label]], reference, path):
            rows, columns = (n for i, n in enumerate(reference.shape) if i != axis)
            where = tuple(k if i == axis else slice(None) for i in range(3))
            painter.paint(where, fill(flat, rows, columns), rank)
    return painter.finish(path)


def _read(path: Path) -> tuple[list[Segment], dict[int, list[NDArray[np.float64]]]]:
    """Regions of interest and their rings, (P, 3) LPS mm."""
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise InputFileError(f"{path.name} is deflated", expected="a plain RTSTRUCT", fix="export it uncompressed")
    dataset = dcmread(path, force=True)
    names = {int(item.ROINumber): str(item.get("ROIName", "")) for item in dataset.get("StructureSetROISequence") or []}
    segments, rings = [], {}
    for item in dataset.get("ROIContourSequence") or []:
        number = int(item.ReferencedROINumber)
        kept = [c for c in item.get("ContourSequence") or [] if str(c.get("ContourGeometricType")) in CLOSED]
        if not kept:
            continue
        color = item.get("ROIDisplayColor")
        shade = tuple(int(c) for c in color) if color is not None and len(color) == 3 else None
        label = number if number > 0 else max(names, default=0) + 1
        segments.append(Segment(label, stated_name(label, names.get(number, "")), shade))  # type: ignore[arg-type]
        rings[label] = [_ring_of(contour) for contour in kept]
    if not segments:
        raise InputFileError(f"{path.name} has no closed contours", expected="regions of interest", fix=RECOPY)
    return segments, rings


def _by_slice(
    rings: Sequence[NDArray[np.float64]], grid: Grid, path: Path
) -> Iterator[tuple[int, int, list[NDArray[np.float64]]]]:
    """Axis and slice of the grid that rings (P, 3) z y x lie on, and the rings there in corner coordinates."""
    axis = min(
        range(3), key=lambda a: max(float(np.abs(ring[:, a] - np.rint(ring[:, a].mean())).max()) for ring in rings)
    )
    slices: dict[int, list[NDArray[np.float64]]] = {}
    for ring in rings:
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
    for k, flats in slices.items():
        yield axis, k, flats
