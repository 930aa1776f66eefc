"""Long and short axis lines from DICOM structured reports of template TID 1500 (imaging measurement report)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.markers import Marker, marker_from_world
from medsam.errors import InputFileError, PromptError
from medsam.imaging.image import Grid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MEASUREMENT_GROUP = "125007"
TRACKING = ("112039", "112040")  # Tracking Identifier, Tracking Unique Identifier
LINES = ("POLYLINE", "MULTIPOINT")


@dataclass(frozen=True, eq=False)
class _Line:
    points: NDArray[np.float64]  # (2, 3) LPS mm, or (2, 2) column, row of the referenced frame
    frame: tuple[str, int] | None  # SOP Instance UID and frame number from 1


def is_structured_report(path: Path) -> bool:
    """Whether a file is a DICOM SR."""
    return str(_header(path).get("Modality", "")) == "SR"


def read_structured_report(path: Path, grid: Grid, scan: Path | None) -> list[Marker]:
    """Read the two-point lines of every measurement group; one tracking identifier is one object.

    Args:
        path: The report.
        grid: Of the scan, slices first.
        scan: The DICOM series the lines were drawn on; needed where the report stores pixels and not mm.

    Raises:
        InputFileError: no measurement group with a line, or a broken report.
        PromptError: pixel positions on images that are not in the scan, or without the scan.
    """
    groups = [item for item in _items(_header(path)) if _code(item) == MEASUREMENT_GROUP]
    labels: dict[str, int] = {}
    markers: list[Marker] = []
    planes: dict[tuple[str, int], NDArray[np.float64]] | None = None
    for number, group in enumerate(groups, start=1):
        lines = list(_lines(group, path))
        name = _tracking(group)
        key = name or f"group {number}"
        if not lines:
            continue
        label = labels.setdefault(key, len(labels) + 1)
        for line in lines:
            if line.frame is not None and planes is None:
                planes = _frames(scan, path)
            markers.append(marker_from_world(_world(line, planes or {}, path), grid, label, name))
    if not markers:
        raise InputFileError(
            f"{path.name} holds no line in a measurement group",
            expected="a TID 1500 report with long and short axis lines",
            fix="save the measurements as a measurement report",
        )
    return markers


def _header(path: Path) -> Dataset:
    import pydicom

    from medsam.io.dicom_files import untrusted

    with untrusted(path.name):
        return pydicom.dcmread(path, stop_before_pixels=True)


def _items(dataset: Dataset, depth: int = 0) -> Iterator[Dataset]:
    """Every content item below a dataset, parents first."""
    if depth > 50:
        raise InputFileError(
            "a report nested deeper than 50 levels", expected="a TID 1500 report", fix="export it again"
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


def _frames(scan: Path | None, path: Path) -> dict[tuple[str, int], NDArray[np.float64]]:
    """For every frame of the scan the (3, 3) map from (column, row, 1), in SR's pixel positions, to LPS mm."""
    if scan is None or not (scan.is_dir() or scan.suffix.lower() in ("", ".dcm", ".dicom", ".zip")):
        raise PromptError(
            f"{path.name} stores positions as pixels of DICOM images",
            expected="the DICOM series as the scan",
            fix="pass it as SCAN",
        )
    from medsam.io.dicom_files import quiet, read_contents
    from medsam.io.dicom_planes import planes_of

    maps: dict[tuple[str, int], NDArray[np.float64]] = {}
    with quiet():
        for instance in read_contents(scan).instances:
            for plane in planes_of(instance):
                if plane.position_mm is None or plane.axes is None or plane.spacing_mm is None:
                    continue
                across, down = plane.axes[0] * plane.spacing_mm[1], plane.axes[1] * plane.spacing_mm[0]
                corner = plane.position_mm - 0.5 * (across + down)  # SR counts from the corner of the first pixel
                maps[str(instance.header.SOPInstanceUID), plane.frame + 1] = np.stack([across, down, corner], axis=1)
    return maps


def _world(line: _Line, planes: dict[tuple[str, int], NDArray[np.float64]], path: Path) -> NDArray[np.float64]:
    if line.frame is None:
        return line.points
    if line.frame not in planes:
        raise PromptError(
            f"{path.name} has a line on an image that is not in the scan",
            expected="the series it was drawn on",
            fix="pass that series as SCAN",
        )
    world: NDArray[np.float64] = np.column_stack([line.points, np.ones(2)]) @ planes[line.frame].T
    return world
