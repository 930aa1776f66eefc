"""Markers from files: label volumes, 3D Slicer markups, CSV and JSON tables, DICOM SR, challenge npz.

Positions in mm are LPS unless the file says RAS. Slices and pixels are those of the plane asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from medsam.annotation.markers import Marker, link_markers, marker_from_world, markers_from_mask
from medsam.errors import InputFileError, PromptError
from medsam.imaging.image import Grid, Mask, move_axis
from medsam.imaging.prompts import MAX_LABEL
from medsam.io.formats import read_mask
from medsam.io.guard import guarded
from medsam.io.limits import require_file
from medsam.io.markups import find_box_on_slices, parse_markups, read_system
from medsam.io.text import read_json, read_rows
from medsam.io.volumes import npz

Objects = Literal["labels", "strokes", "one"]
MAX_PX = 1_000_000  # of a slice number or a position
ROW_FAULTS = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
VOXEL_COLUMNS = ("slice", "x0", "y0", "x1", "y1")
MM_COLUMNS = ("x0_mm", "y0_mm", "z0_mm", "x1_mm", "y1_mm", "z1_mm")
EXAMPLE = '{"markers": [{"label": 1, "slice": 12, "points": [[10, 20], [40, 25]]}]}'


@dataclass(frozen=True, eq=False)
class Target:
    """The scan the markers belong to.

    Args:
        grid: As stored.
        axis: Array axis its slices are stacked along.
        path: The scan's file or DICOM folder; DICOM SR with pixel positions needs it.
    """

    grid: Grid
    axis: int = 0
    path: Path | None = None

    @property
    def sliced(self) -> Grid:
        """The grid with slices first."""
        return move_axis(self.grid, self.axis)


@dataclass(frozen=True)
class DrawnMarkers:
    """The markers of one scan.

    Args:
        markers: One or more for each object and slice.
        notice: What the reader had to guess, for the person to see; None where the files say it.
    """

    markers: list[Marker]
    notice: str | None = None


def read_markers(paths: Sequence[str | Path], target: Target, *, objects: Objects = "labels") -> DrawnMarkers:
    """Read the markers of one scan.

    Args:
        paths: One or more files; several (one line each, as 3D Slicer saves them) are read together.
        target: The scan.
        objects: "labels": the file says which line belongs to which object. "strokes": lines that touch on a slice or
            overlap from one marked slice to the next are one object; always so for 3D Slicer lines, which carry none.
            "one": all lines are drawn around one object.

    Raises:
        InputFileError: missing, or a file that holds no markers.
        GeometryError: a label volume on another grid.
        PromptError: a line across slices, or a row that cannot be read; the message names it.
    """
    markers: list[Marker] = []
    loose: list[Marker] = []
    for path in map(Path, paths):
        with guarded(path, "a file of markers"):
            found, labelled = _read_one(path, target, objects)
            _refuse_absurd(found, path)
        (markers if labelled else loose).extend(found)
    if objects == "one":
        return DrawnMarkers([replace(marker, label=1) for marker in (*markers, *loose)])
    if objects == "strokes":
        return DrawnMarkers(link_markers([*markers, *loose]))
    linked = link_markers(loose)
    count = len({marker.label for marker in linked})
    first = max((m.label for m in markers), default=0)
    notice = (
        f"{len(loose)} lines without a label were taken for {count} objects, by which of them touch or overlap from "
        "slice to slice; if they are one object, pass --one-object (objects='one')"
        if count > 1
        else None
    )
    return DrawnMarkers([*markers, *(replace(marker, label=marker.label + first) for marker in linked)], notice)


def _refuse_absurd(markers: Sequence[Marker], path: Path) -> None:
    """Numbers that no scan has; others that lie outside this scan are named later, with its size."""
    for marker in markers:
        if not (marker.label <= MAX_LABEL and abs(marker.slice) <= MAX_PX and np.abs(marker.points_xy).max() <= MAX_PX):
            raise PromptError(
                f"{path} holds a marker with a label, slice or position of more than {MAX_PX}",
                expected=f"labels up to {MAX_LABEL}, slices and positions inside the scan",
                fix="correct the file",
            )


def _read_one(path: Path, target: Target, objects: Objects) -> tuple[list[Marker], bool]:
    """The markers of one file, and whether they say which object they belong to."""
    name = require_file(path, "a file of markers").name.lower()
    if name.endswith(".json"):
        raw = read_json(path, EXAMPLE)
        if isinstance(raw, dict) and "markups" in raw:
            return _from_markups(path, raw["markups"], target), False
        return _from_json(path, raw if isinstance(raw, dict) else {"markers": raw}, target), True
    if name.endswith(".csv"):
        return _from_csv(path, target), True
    if name.endswith(".npz"):
        return _from_mask(_recist(path, target.grid), target, objects), True
    if name.endswith((".dcm", ".dicom")):
        from medsam.io.dicom.structured_report import is_structured_report, read_lines

        if is_structured_report(path):
            lines = read_lines(path, target.path)
            return [marker_from_world(line.points_mm, target.sliced, line.label, line.name) for line in lines], True
    return _from_mask(read_mask(path, reference=target.grid), target, objects), True


def _from_mask(mask: Mask, target: Target, objects: Objects) -> list[Marker]:
    apart = "labels" if objects == "one" else objects
    return markers_from_mask(mask.move_axis(target.axis), target.sliced, objects=apart)


def _recist(path: Path, grid: Grid) -> Mask:
    """The marker volume of a challenge npz, which lies on the scan's grid."""
    recist = npz.read_prompts(path).recist
    if recist is None:
        return read_mask(path, reference=grid)
    if recist.grid.shape != grid.shape:
        raise InputFileError(
            f"{path}: recist has shape {recist.grid.shape}",
            expected=f"{grid.shape} as the scan",
            fix="use the npz of this scan",
        )
    return Mask(recist.labels, grid)


def _from_json(path: Path, raw: Mapping[str, object], target: Target) -> list[Marker]:
    rows = raw.get("markers")
    if not isinstance(rows, list) or not rows:
        raise InputFileError(f"{path} has no list of markers", expected=EXAMPLE, fix="see docs/annotation.md")
    turn = read_system(raw.get("coordinateSystem", "LPS"), path)
    markers = []
    for number, row in enumerate(rows, start=1):
        try:
            label = int(row.get("label", 1))
            name = None if row.get("name") is None else str(row["name"])
            if "points_mm" in row:
                points_N3 = np.array(row["points_mm"], dtype=np.float64).reshape(-1, 3) * turn
                markers.append(marker_from_world(points_N3, target.sliced, label, name))
            else:
                points = tuple((float(x), float(y)) for x, y in row["points"])
                markers.append(Marker(label, int(row["slice"]), points, name))
        except ROW_FAULTS as error:
            raise PromptError(
                f"{path}, marker {number}: {type(error).__name__} {str(error)[:80]}",
                expected=EXAMPLE,
                fix="see docs/annotation.md",
            ) from None
    return markers


def _from_csv(path: Path, target: Target) -> list[Marker]:
    columns, rows = read_rows(path, "a CSV of line ends")
    if not (set(VOXEL_COLUMNS) <= columns or set(MM_COLUMNS) <= columns):
        raise InputFileError(
            f"{path} has the columns {', '.join(sorted(columns))[:120] or 'none'}",
            expected=f"label and {', '.join(VOXEL_COLUMNS)}; or label and {', '.join(MM_COLUMNS)}",
            fix="name the columns so",
        )
    in_mm = set(MM_COLUMNS) <= columns
    markers = []
    for number, row in rows:
        try:
            label = int(row.get("label") or 1)
            if in_mm:
                points_N3 = np.array([float(row[c]) for c in MM_COLUMNS]).reshape(2, 3)
                points_N3 *= read_system(row.get("coordinate_system") or "LPS", path)
                markers.append(marker_from_world(points_N3, target.sliced, label))
            else:
                x0, y0, x1, y1 = (float(row[c]) for c in VOXEL_COLUMNS[1:])
                markers.append(Marker(label, int(row["slice"]), ((x0, y0), (x1, y1))))
        except ROW_FAULTS as error:
            raise PromptError(
                f"{path}, line {number}: {str(error)[:80]}",
                expected="numbers in every column",
                fix="correct the line",
            ) from None
    if not markers:
        raise InputFileError(f"{path} holds no marker", expected="at least one line", fix="add a row")
    return markers


def _from_markups(path: Path, raw: object, target: Target) -> list[Marker]:
    """Lines and ROI boxes of a .mrk.json; every one is an object of its own until they are linked."""
    markers: list[Marker] = []
    for markup in parse_markups(raw, path):
        if markup.kind == "Line" and len(markup.points_mm):
            markers.append(marker_from_world(markup.points_mm, target.sliced, 1))
        elif markup.kind == "ROI":
            slices, (x0, y0, x1, y1) = find_box_on_slices(markup, target.sliced)
            markers += [Marker(1, index, ((x0, y0), (x1, y1))) for index in slices]
    if not markers:
        raise InputFileError(
            f"{path} holds no line and no ROI", expected="markups of type Line or ROI", fix="draw lines"
        )
    return markers
