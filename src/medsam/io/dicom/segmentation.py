"""DICOM Segmentation (SEG): written with highdicom over the source series, and read back onto a label map.

Reading is also the door for masks in .dcm files: RTSTRUCT goes to its own module.
Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, UID_dictionary, generate_uid
from pydicom.valuerep import DSfloat

from medsam.errors import InputFileError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.image import Affine, Grid, Mask
from medsam.imaging.palette import choose_color
from medsam.io.codes import Code, find_coding, find_stated, read_name, write_name
from medsam.io.dicom.files import PARSE_ERRORS, Instance, guard_parsing, read_contents, silence_parser
from medsam.io.dicom.header_repair import repair_headers, require_identity
from medsam.io.dicom.planes import list_planes
from medsam.io.dicom.segmentation_grid import find_frames_grid, refuse_repeated
from medsam.io.dicom.source import ReferenceSeries, check_source, derive_series_number, match_source
from medsam.io.formats import WriteOptions
from medsam.io.placement import LabelPainter, Overlap, Segment, choose_dtype, choose_segments, place, require_affine

KIND = "DICOM SEG"
KINDS = ("BINARY", "LABELMAP", "FRACTIONAL")
SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
MAX_LABELS = 65535
SEGMENTED = Code("113076", "DCM", "Segmentation")
SOURCE_IMAGE = Code("121322", "DCM", "Source Image for Image Processing Operation")


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write a DICOM SEG of the series given as the reference.

    Args:
        mask: Labels on the grid of the series.
        path: The .dcm file.
        options: reference is the series; kind is BINARY (default), LABELMAP or FRACTIONAL.

    Raises:
        OutputError: no reference, no foreground, an unknown kind, or a source that SEG cannot describe.
        GeometryError: the mask lies on another grid.
    """
    kind = (options.kind or "BINARY").upper()
    if kind not in KINDS:
        raise OutputError(f"kind is {options.kind!r}", expected=f"one of {', '.join(KINDS)}", fix="choose one of them")
    ids = mask.ids
    if not ids or len(ids) > MAX_LABELS:
        raise OutputError(
            f"the mask has {len(ids)} labels",
            expected=f"1 to {MAX_LABELS}",
            fix="write an empty mask as .nii.gz or .seg.nrrd",
        )
    source = match_source(mask, options.reference, KIND, series=options.series)
    with silence_parser():
        dataset = build_object(source, ids, kind)
        with replacing(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)


def _refuse_unfit(source: ReferenceSeries) -> None:
    if not source.placed and len(source.frames) > 1:
        raise OutputError(
            f"the source has {len(source.frames)} frames without a place in the patient",
            expected="slices with a place, or one single image",
            fix="write .seg.nrrd or NIfTI instead",
        )
    if int(np.prod(source.mask.grid.shape[1:])) < 8:
        raise OutputError(
            "the slices have fewer than 8 pixels", expected="8 or more, which highdicom packs right", fix="write NIfTI"
        )
    require_identity(source.headers, KIND, placed=source.placed)


def build_object(source: ReferenceSeries, ids: Sequence[int], kind: str = "BINARY") -> Dataset:
    """Build the DICOM SEG of the mask on a series.

    Args:
        source: The series with the mask on it.
        ids: Labels of the mask that become segments.
        kind: BINARY, LABELMAP or FRACTIONAL.

    Raises:
        OutputError: a source that SEG cannot describe.
    """
    import highdicom

    from medsam import __version__

    _refuse_unfit(source)
    headers = repair_headers(source.headers)
    mask = source.mask
    ranks = np.searchsorted(np.array(ids), mask.labels) + 1
    ranks[mask.labels == 0] = 0
    values = _arranged(source, ranks.astype(choose_dtype(len(ids))), headers[0])
    try:
        with disable_value_validation():  # what is carried over was repaired, and identifiers are repeated as they are
            dataset: Dataset = highdicom.seg.Segmentation(
                source_images=headers,
                pixel_array=values,
                segmentation_type=kind,
                segment_descriptions=[_description(rank, label, mask) for rank, label in enumerate(ids, start=1)],
                series_instance_uid=generate_uid(),
                series_number=derive_series_number(headers[0]),
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer="openmedsam",
                manufacturer_model_name="medsam",
                software_versions=__version__,
                device_serial_number="none",
                content_label="SEGMENTATION",
                content_description="Segmented from prompts",
                series_description="Segmentation",
                specific_character_set="ISO_IR 192",
                transfer_syntax_uid=ExplicitVRLittleEndian,  # gdcm, which pydicom picks to pack RLE, aborts on odd widths
            )
    except PARSE_ERRORS as error:
        # What went wrong may quote the patient, so only its kind is told.
        raise OutputError(
            f"the source series cannot carry a {KIND} ({type(error).__name__})",
            expected="headers with what the standard asks of every image",
            fix="export the series again, or write .seg.nrrd or NIfTI instead",
        ) from None
    if not source.placed:
        dataset.PatientOrientation = headers[0].get("PatientOrientation", "")
    else:
        _state_distance(dataset, require_affine(mask.grid))
        if not source.one_to_one:
            _point_to_sources(dataset, source)
    return dataset


check_reference = partial(check_source, KIND, build_object)


def _state_distance(dataset: Dataset, affine: Affine) -> None:
    """State the true distance between slices; highdicom repeats the source's, which scanners get wrong."""
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    distance = abs(float(affine[:3, 0] @ normal)) / float(np.linalg.norm(normal))
    shared = dataset.SharedFunctionalGroupsSequence[0]
    measures = copy.deepcopy(shared.PixelMeasuresSequence[0])
    measures.SpacingBetweenSlices = DSfloat(distance, auto_format=True)
    shared.PixelMeasuresSequence = [measures]


def _point_to_sources(dataset: Dataset, source: ReferenceSeries) -> None:
    """Name the source frame under each frame of a resampled mask that lies on one."""
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = np.array([group.PlanePositionSequence[0].ImagePositionPatient], dtype=np.float64)
        plane = source.frames[round(float(source.mask.grid.to_index(position)[0, 0]))]
        if plane is not None:
            header = plane.instance.header
            image = Dataset()
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
            if int(header.get("NumberOfFrames") or 1) > 1:
                image.ReferencedFrameNumber = plane.frame + 1
            image.PurposeOfReferenceCodeSequence = [_concept(SOURCE_IMAGE)]
            image.SpatialLocationsPreserved = "YES"
            derivation = Dataset()
            derivation.DerivationCodeSequence, derivation.SourceImageSequence = [_concept(SEGMENTED)], [image]
            group.DerivationImageSequence = [derivation]


def _arranged(source: ReferenceSeries, ranks: NDArray[np.unsignedinteger], first: Dataset) -> object:
    """Pixels in the order of the source's frames where they match one to one, else as a volume with its own places."""
    import highdicom

    if source.placed and not source.one_to_one:
        volume = highdicom.Volume(
            ranks,
            affine=require_affine(source.mask.grid),
            coordinate_system="PATIENT",
            frame_of_reference_uid=first.get("FrameOfReferenceUID"),
        )
        return volume
    frames = int(first.get("NumberOfFrames") or 1)
    if frames == 1 or len(source.headers) > 1:
        return ranks
    in_file = np.zeros((frames, *ranks.shape[1:]), dtype=ranks.dtype)
    in_file[[plane.frame for plane in source.planes]] = ranks
    return in_file


def _description(rank: int, label: int, mask: Mask) -> object:
    import highdicom
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes

    from medsam import __version__

    name = write_name(label, mask.names)
    meaning = find_coding(name, mask.codes.get(label))
    item = highdicom.seg.SegmentDescription(
        segment_number=rank,
        segment_label=name[:64],
        segmented_property_category=_concept(meaning.category),
        segmented_property_type=_concept(meaning.kind),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name="medsam", family=codes.cid7162.ArtificialIntelligence, version=__version__
        ),
        tracking_uid=generate_uid() if label != rank else None,
        tracking_id=f"label {label}" if label != rank else None,
        display_color=CIELabColor.from_rgb(*choose_color(label, mask.colors)),
    )
    if meaning.side is not None:
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_concept(meaning.side)]
    return item


def _concept(code: Code) -> object:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def read_segments(
    path: Path, reference: Grid | None, *, only: Sequence[str] | None = None, overlap: Overlap = "refuse"
) -> Mask:
    """Read some segments of a .dcm mask, or all.

    Args:
        path: A DICOM SEG or RTSTRUCT, or a folder or zip with one SEG.
        reference: Grid to lay the labels on, slices that the SEG left out empty; None for the SEG's own frames.
        only: Names or label ids to take.
        overlap: What happens to voxels of two segments: "refuse", or the "first" or "last" of them wins.

    Raises:
        InputFileError: not a mask, damaged, or segments overlap.
        GeometryError: its voxels are not the reference's, or its frames make no regular volume by themselves.
    """
    from medsam.io.dicom import structure_set as rtstruct

    if path.is_file() and rtstruct.is_structure_set(path):
        return rtstruct.read_segments(path, reference, only=only, overlap=overlap)
    with silence_parser():
        instance = _only_segmentation(path)
        planes = list_planes(instance)
        with guard_parsing(instance.name):
            segments, numbers = _segments(instance.header)
            frame_numbers = _frame_numbers(instance.header, len(planes))
        wanted = choose_segments(segments, only, path)
        with guard_parsing(instance.name):
            grid, places = find_frames_grid(planes, reference)
        refuse_repeated(places, frame_numbers, instance.name)
        painter = LabelPainter(grid, wanted, overlap=overlap)
        rank_of = {number: wanted.index(s) for number, s in zip(numbers, segments, strict=True) if s in wanted}
        with guard_parsing(instance.name):
            for place_of, number, pixels in zip(places, frame_numbers, _frames(instance), strict=True):
                for value, region in _regions(pixels, number, instance.header):
                    if value in rank_of:
                        painter.paint((place_of,), region, rank_of[value])
    mask = painter.finish(path)
    return mask if reference is None else place(mask, reference)


def holds_mask(path: Path) -> bool:
    """Whether a DICOM file is a SEG or an RTSTRUCT, or a folder or zip holds nothing else with pixels but SEGs."""
    from medsam.io.dicom import structure_set as rtstruct

    if path.is_file() and rtstruct.is_structure_set(path):
        return True
    with silence_parser():
        instances = read_contents(path).instances
    return all(str(instance.header.get("SOPClassUID")) in SEGMENTATIONS for instance in instances)


def _only_segmentation(path: Path) -> Instance:
    instances = read_contents(path).instances
    found = [instance for instance in instances if str(instance.header.get("SOPClassUID")) in SEGMENTATIONS]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputFileError(
            f"{path.name} holds {len(found)} segmentations", expected="one", fix="pass one of the files"
        )
    uid = str(instances[0].header.get("SOPClassUID", ""))
    kind = UID_dictionary[uid][0] if uid in UID_dictionary else "an unknown DICOM object"
    raise InputFileError(
        f"{path.name} is {kind}, an image",
        expected="a DICOM SEG or RTSTRUCT",
        fix="pass the mask, or read it with read_image",
    )


def _segments(header: Dataset) -> tuple[list[Segment], list[int]]:
    """The segments with the label ids they stand for, and their numbers in the file."""
    from highdicom.color import CIELabColor

    segments, numbers = [], []
    for item in header.SegmentSequence:
        number = int(item.SegmentNumber)
        stated = re.fullmatch(r"label (\d+)", str(item.get("TrackingID", "")))
        label = int(stated.group(1)) if stated else number
        lab = item.get("RecommendedDisplayCIELabValue")
        color = tuple(int(c) for c in CIELabColor.from_dicom_value(list(lab)).to_rgb()) if lab else None
        name = read_name(label, str(item.get("SegmentLabel", "")))
        if number:  # number 0 describes the background of a LABELMAP
            segments.append(Segment(label, name, color, _stated_code(item, name)))  # type: ignore[arg-type]
            numbers.append(number)
    if len({s.label for s in segments}) < len(segments):
        segments = [replace(s, label=n) for n, s in zip(numbers, segments, strict=True)]
    return segments, numbers


def _stated_code(item: Dataset, name: str) -> tuple[str, str, str] | None:
    """The property type of a segment, where it says more than its name."""
    kind = (item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    parts = (str(kind.get(key) or "") for key in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning"))
    scheme, value, meaning = parts
    return find_stated(name, (scheme, value, meaning))


def _frame_numbers(header: Dataset, count: int) -> list[int]:
    """The segment each frame shows; 0 for frames of a LABELMAP, whose pixels say it."""
    if header.SegmentationType == "LABELMAP":
        return [0] * count
    shared = header.SharedFunctionalGroupsSequence[0] if header.get("SharedFunctionalGroupsSequence") else Dataset()
    groups = header.get("PerFrameFunctionalGroupsSequence") or [shared] * count
    found = [group.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence for group in groups]
    return [int(item[0].ReferencedSegmentNumber) for item in found]


def _frames(instance: Instance) -> Iterator[NDArray[np.unsignedinteger]]:
    """The frames one by one, as stored."""
    from pydicom.pixels import iter_pixels

    dataset = instance.load()
    if int(dataset.BitsAllocated) != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from iter_pixels(dataset, raw=True)
        return
    # Packed bits run on from frame to frame, so a frame may begin within a byte.
    packed = np.frombuffer(dataset.PixelData, dtype=np.uint8)
    size = int(dataset.Rows) * int(dataset.Columns)
    for frame in range(int(dataset.get("NumberOfFrames") or 1)):
        first, last = frame * size, (frame + 1) * size
        bits = np.unpackbits(packed[first // 8 : (last + 7) // 8], bitorder="little")
        yield bits[first % 8 : first % 8 + size].reshape(int(dataset.Rows), int(dataset.Columns))


def _regions(
    pixels: NDArray[np.unsignedinteger], number: int, header: Dataset
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    if number:
        highest = int(header.get("MaximumFractionalValue") or 255) if header.SegmentationType == "FRACTIONAL" else 1
        yield number, pixels.astype(np.int32) * 2 >= highest
        return
    for value in np.unique(pixels).tolist():
        if value:
            yield value, pixels == value
