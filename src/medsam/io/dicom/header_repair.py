"""Headers of a series as an object that is made from it may repeat them: what is invalid becomes empty, or a refusal.

Patient and study attributes are copied into every SEG and RTSTRUCT, and the writers refuse a birth date with slashes.
Such a value must not cost a segmentation. Nothing here repeats a value in a message.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import DSfloat, validate_value

from medsam.errors import OutputError
from medsam.io.dicom.attributes import read_parts, read_text, to_numbers
from medsam.io.dicom.files import PARSE_ERRORS

# What all objects of a study repeat of patient and study; empty where the source lacks it.
STUDY_KEYWORDS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
# Values that the standard enumerates (PS3.3, C.7.1.1 and C.7.2.2).
ENUMERATED: dict[str, frozenset[object]] = {
    "PatientSex": frozenset({"M", "F", "O"}),
    "PatientSexNeutered": frozenset({"ALTERED", "UNALTERED"}),
    "SmokingStatus": frozenset({"YES", "NO", "UNKNOWN"}),
    "PregnancyStatus": frozenset({1, 2, 3, 4}),
    "QualityControlSubject": frozenset({"YES", "NO"}),
    "PatientIdentityRemoved": frozenset({"YES", "NO"}),
}
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
GEOMETRY_GROUPS = frozenset({0x0018, 0x0020, 0x0028})
CARRIED_GROUPS = GEOMETRY_GROUPS | {0x0008, 0x0010, 0x0012, 0x0032, 0x0038, 0x0040}
EXACT = frozenset({"UI", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UT"})  # not judged: identities stay as they are
NUMBERS = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"})


def repair_headers(headers: Sequence[Dataset]) -> list[Dataset]:
    """Copies of headers that a writer can take.

    Args:
        headers: One per object of a series.

    Returns:
        The first one, from which patient and study are copied, valid throughout; the others valid in their geometry.
    """
    return [_repair(header, GEOMETRY_GROUPS if k else CARRIED_GROUPS) for k, header in enumerate(headers)]


def require_identity(headers: Sequence[Dataset], kind: str, *, placed: bool) -> None:
    """Refuse a series whose images an object made from it cannot name.

    Args:
        headers: One per object of the series.
        kind: What is to be written, for the message.
        placed: Whether the series lies in a patient, and so in a frame of reference.

    Raises:
        OutputError: an identifier is absent, or several images carry the same one.
    """
    for keyword in (*NEEDED, *(("FrameOfReferenceUID",) if placed else ())):
        missing = sum(not read_text(header, keyword) for header in headers)
        if missing:
            raise OutputError(
                f"{missing} of {len(headers)} images of the source have no {keyword}",
                expected=f"one in every image that a {kind} refers to",
                fix="export the series again, or write .seg.nrrd or NIfTI instead",
            )
    shared = Counter(read_text(header, "SOPInstanceUID") for header in headers).most_common(1)[0][1]
    if shared > 1:
        raise OutputError(
            f"{shared} different images of the source carry the same SOPInstanceUID",
            expected=f"one of its own in every image that a {kind} refers to",
            fix="export the series again, or write .seg.nrrd or NIfTI instead",
        )


def _repair(header: Dataset, groups: frozenset[int]) -> Dataset:
    whole = copy.copy(header)
    whole._dict = dict(header._dict)  # which a copy of a data set shares
    for tag in [tag for tag in list(whole._dict) if tag.group in groups]:
        element = _valid(whole, tag)
        if element is None:
            del whole[tag]
        else:
            whole[tag] = element
    for keyword in STUDY_KEYWORDS:
        if keyword not in whole:
            setattr(whole, keyword, "")
    return whole


def _valid(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """An element with a value that may be written; None where there is no such value."""
    try:
        element = dataset[tag]
    except PARSE_ERRORS:
        return _numbers_again(dataset, tag)
    return element if _is_valid(element) else _numbers_again(dataset, tag)


def _is_valid(element: DataElement | RawDataElement) -> bool:
    if element.VR == "SQ":
        try:
            return all(_is_valid(inner) for item in element.value or () for inner in item)
        except PARSE_ERRORS:
            return False
    allowed = ENUMERATED.get(keyword_for_tag(element.tag))
    if element.is_empty or element.VR in EXACT:
        return True
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            validate_value(element.VR, value if element.VR in NUMBERS else str(value), RAISE)
    except PARSE_ERRORS:
        return False
    return allowed is None or element.value in allowed


def _numbers_again(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """A decimal string with commas, written with points."""
    keyword = keyword_for_tag(tag)
    if not keyword or dictionary_VR(tag) != "DS":
        return None
    numbers = to_numbers(read_parts(dataset, keyword))
    if not numbers:
        return None
    values = [DSfloat(number, auto_format=True) for number in numbers]
    return DataElement(tag, "DS", values if len(values) > 1 else values[0])
