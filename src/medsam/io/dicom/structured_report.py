"""Two-point lines from DICOM structured reports of template TID 1500 (imaging measurement report)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medsam.errors import InputFileError, PromptError
from medsam.io.dicom.files import guard_parsing, read_contents, read_object, silence_parser
from medsam.io.dicom.planes import list_planes

MEASUREMENT_GROUP = "125007"
TRACKING = ("112039", "112040")  # Tracking Identifier, Tracking Unique Identifier
LINES = ("POLYLINE", "MULTIPOINT")
MAX_DEPTH = 50  # levels of a report; TID 1500 has about ten
SANE_MM = 1e12

Frames = dict[tuple[str, int], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class ReportLine:
    """One line of a report.

    Args:
        points_mm: (2, 3) its ends, LPS mm.
        label: Id of the object it measures, from 1.
        name: The tracking identifier of the object, None where the report gives none.
    """

    points_mm: NDArray[np.float64]
    label: int
    name: str | None


@dataclass(frozen=True, eq=False)
class _Line:
    points: NDArray[np.float64]  # (2, 3) LPS mm, or (2, 2) column, row of the referenced frame
    frame: tuple[str, int] | None  # SOP Instance UID and frame number from 1


def is_structured_report(path: Path) -> bool:
    """Whether a file is a DICOM SR."""
    with silence_parser(), guard_parsing(path.name):
        return str(read_object(path).get("Modality", "")) == "SR"


def read_lines(path: Path, scan: Path | None) -> list[ReportLine]:
    """Read the two-point lines of every measurement group; one tracking identifier is one object.

    Args:
        path: The report.
        scan: The DICOM series the lines were drawn on; needed where the report stores pixels and not mm.

    Raises:
        InputFileError: no measurement group with a line, or a broken report.
        PromptError: pixel positions on images that are not in the scan, or without the scan.
    """
    labels: dict[str, int] = {}
    found: list[ReportLine] = []
    frames: Frames | None = None
    with silence_parser(), guard_parsing(path.name):
        groups = [item for item in _items(read_object(path)) if _code(item) == MEASUREMENT_GROUP]
        for number, group in enumerate(groups, start=1):
            name = _tracking(group)
            for line in _lines(group, path):
                if line.frame is not None and frames is None:
                    frames = _frames(scan, path)
                label = labels.setdefault(name or f"group {number}", len(labels) + 1)
                found.append(ReportLine(_world(line, frames or {}, path), label, name))
    if not found:
        raise InputFileError(
            f"{path.name} holds no line in a measurement group",
            expected="a TID 1500 report with long and short axis lines",
            fix="save the measurements as a measurement report",
        )
    return found


def _items(dataset: Dataset, depth: int = 0) -> Iterator[Dataset]:
    """Every content item below a dataset, parents first."""
    if depth > MAX_DEPTH:
        raise InputFileError(
            f"a report nested deeper than {MAX_DEPTH} levels", expected="a TID 1500 report", fix="export it again"
        )
    for item in dataset.get("ContentSequence") or ():
        yield item
        yield from _items(item, depth + 1)


def _code(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeValue", "")) if names else ""


def _tracking(group: Dataset) -> str | None:
    found = {_code(item): item for item in group.get("ContentSequence") or ()}
    for code in TRACKING:
        if code in found:
            return str(found[code].get("TextValue") or found[code].get("UID") or "") or None
    return None


def _lines(group: Dataset, path: Path) -> Iterator[_Line]:
    for item in _items(group):
        kind = str(item.get("ValueType", ""))
        if kind not in ("SCOORD", "SCOORD3D") or str(item.get("GraphicType", "")) not in LINES:
            continue
        values = np.array([float(v) for v in item.get("GraphicData") or ()])
        width = 3 if kind == "SCOORD3D" else 2
        if len(values) != 2 * width:
            continue  # a contour, not a line
        if not (np.abs(values) < SANE_MM).all():
            raise ValueError("not a position")
        yield _Line(values.reshape(2, width), None if width == 3 else _referenced(item, path))


def _referenced(item: Dataset, path: Path) -> tuple[str, int]:
    for source in item.get("ContentSequence") or ():
        for reference in source.get("ReferencedSOPSequence") or ():
            number = reference.get("ReferencedFrameNumber") or 1
            first = number if isinstance(number, int | str) else number[0]
            return str(reference.ReferencedSOPInstanceUID), int(first)
    raise InputFileError(
        f"{path.name}: a line without its image", expected="a reference to an image", fix="export it again"
    )


def _frames(scan: Path | None, path: Path) -> Frames:
    """For every frame of the scan the (3, 3) map from (column, row, 1), in SR's pixel positions, to LPS mm."""
    if scan is None or not (scan.is_dir() or scan.suffix.lower() in ("", ".dcm", ".dicom", ".zip")):
        raise PromptError(
            f"{path.name} stores positions as pixels of DICOM images",
            expected="the DICOM series as the scan",
            fix="pass it as SCAN",
        )
    maps: Frames = {}
    for instance in read_contents(scan).instances:
        for plane in list_planes(instance):
            if plane.position_mm is None or plane.axes is None or plane.spacing_mm is None:
                continue
            across, down = plane.axes[0] * plane.spacing_mm[1], plane.axes[1] * plane.spacing_mm[0]
            corner = plane.position_mm - 0.5 * (across + down)  # SR counts from the corner of the first pixel
            maps[str(instance.header.get("SOPInstanceUID")), plane.frame + 1] = np.stack([across, down, corner], axis=1)
    return maps


def _world(line: _Line, frames: Frames, path: Path) -> NDArray[np.float64]:
    if line.frame is None:
        return line.points
    if line.frame not in frames:
        raise PromptError(
            f"{path.name} has a line on an image that is not in the scan",
            expected="the series it was drawn on",
            fix="pass that series as SCAN",
        )
    world: NDArray[np.float64] = np.column_stack([line.points, np.ones(2)]) @ frames[line.frame].T
    return world
