"""Markers from files: label volumes, 3D Slicer markups, CSV and JSON tables, DICOM SR, challenge npz.

Positions in mm are LPS unless the file says RAS. Slices and pixels are those of the plane asked for.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.markers import Marker, Objects, link_markers, marker_from_world, markers_from_mask
from medsam.errors import InputFileError, PromptError
from medsam.imaging.image import Grid, Mask, moved_axis
from medsam.io.formats import read_mask

VOXEL_COLUMNS = ("slice", "x0", "y0", "x1", "y1")
MM_COLUMNS = ("x0_mm", "y0_mm", "z0_mm", "x1_mm", "y1_mm", "z1_mm")
SYSTEMS: Mapping[str, NDArray[np.float64]] = {"LPS": np.array([1.0, 1, 1]), "RAS": np.array([-1.0, -1, 1])}
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
        return moved_axis(self.grid, self.axis)


def read_markers(paths: Sequence[str | Path], target: Target, *, objects: Objects = "labels") -> list[Marker]:
    """Read the markers of one scan.

    Args:
        paths: One or more files; several (one line each, as 3D Slicer saves them) are read together.
        target: The scan.
        objects: "labels": the file says which line belongs to which object. "strokes": lines that touch on a slice or
            overlap from one marked slice to the next are one object; always so for 3D Slicer lines, which carry none.

    Raises:
        InputFileError: missing, or a file that holds no markers.
        GeometryError: a label volume on another grid.
        PromptError: a line across slices, or a row that cannot be read; the message names it.
    """
    markers: list[Marker] = []
    loose: list[Marker] = []
    for path in map(Path, paths):
        found, labelled = _read_one(path, target, objects)
        (markers if labelled else loose).extend(found)
    if objects == "strokes":
        return link_markers([*markers, *loose])
    first = max((m.label for m in markers), default=0)
    return [*markers, *(Marker(m.label + first, m.slice, m.points_xy, m.name) for m in link_markers(loose))]


def _read_one(path: Path, target: Target, objects: Objects) -> tuple[list[Marker], bool]:
    """The markers of one file, and whether they say which object they belong to."""
    name = path.name.lower()
    if not path.is_file():
        raise InputFileError(f"{path} does not exist", expected="a file of markers", fix="check the path")
    if name.endswith(".json"):
        raw = _json(path)
        if "markups" in raw:
            return _slicer(path, raw, target), False
        return _from_json(path, raw, target), True
    if name.endswith(".csv"):
        return _from_csv(path, target), True
    if name.endswith(".npz"):
        return _from_mask(_recist(path, target.grid), target, objects), True
    if name.endswith((".dcm", ".dicom")):
        from medsam.annotation.dicom_sr import is_structured_report, read_structured_report

        if is_structured_report(path):
            return read_structured_report(path, target.sliced, target.path), True
    return _from_mask(read_mask(path, reference=target.grid), target, objects), True


def _from_mask(mask: Mask, target: Target, objects: Objects) -> list[Marker]:
    return markers_from_mask(mask.moved_axis(target.axis), target.sliced, objects=objects)


def _recist(path: Path, grid: Grid) -> Mask:
    """The marker volume of a challenge npz; it lies on the scan's grid."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "recist" not in arrays:
                return read_mask(path, reference=grid)
            labels = arrays["recist"]
    except (OSError, ValueError) as error:
        raise InputFileError(
            f"{path} cannot be read ({error})", expected="an npz with recist", fix="copy it again"
        ) from None
    if labels.shape != grid.shape or labels.dtype.kind not in "uib":
        raise InputFileError(
            f"{path}: recist is {labels.dtype} {labels.shape}",
            expected=f"integers {grid.shape}",
            fix="use the npz of this scan",
        )
    return Mask(labels, grid)


def _json(path: Path) -> dict[str, object]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, ValueError) as error:
        raise InputFileError(f"{path} is not JSON ({error})", expected=EXAMPLE, fix="correct the file") from None
    if isinstance(raw, list):
        return {"markers": raw}
    if not isinstance(raw, dict):
        raise InputFileError(f"{path} holds a single value", expected=EXAMPLE, fix="correct the file")
    return raw


def _from_json(path: Path, raw: Mapping[str, object], target: Target) -> list[Marker]:
    rows = raw.get("markers")
    if not isinstance(rows, list) or not rows:
        raise InputFileError(f"{path} has no list of markers", expected=EXAMPLE, fix="see docs/annotation.md")
    turn = _system(path, raw.get("coordinateSystem", "LPS"))
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
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PromptError(
                f"{path}, marker {number}: {error!r}", expected=EXAMPLE, fix="see docs/annotation.md"
            ) from None
    return markers


def _from_csv(path: Path, target: Target) -> list[Marker]:
    try:
        reader = csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(), skipinitialspace=True)
    except UnicodeDecodeError:
        raise InputFileError(f"{path} is not text", expected="a CSV of line ends", fix="save it as UTF-8") from None
    columns = set(reader.fieldnames or ())
    if not (set(VOXEL_COLUMNS) <= columns or set(MM_COLUMNS) <= columns):
        raise InputFileError(
            f"{path} has the columns {', '.join(sorted(columns)) or 'none'}",
            expected=f"label and {', '.join(VOXEL_COLUMNS)}; or label and {', '.join(MM_COLUMNS)}",
            fix="name the columns so",
        )
    in_mm = set(MM_COLUMNS) <= columns
    markers = []
    for number, row in enumerate(reader, start=2):
        try:
            label = int(row.get("label") or 1)
            if in_mm:
                points_N3 = np.array([float(row[c]) for c in MM_COLUMNS]).reshape(2, 3)
                points_N3 *= _system(path, row.get("coordinate_system") or "LPS")
                markers.append(marker_from_world(points_N3, target.sliced, label))
            else:
                x0, y0, x1, y1 = (float(row[c]) for c in VOXEL_COLUMNS[1:])
                markers.append(Marker(label, int(row["slice"]), ((x0, y0), (x1, y1))))
        except (TypeError, ValueError) as error:
            raise PromptError(
                f"{path}, line {number}: {error}", expected="numbers in every column", fix="correct the line"
            ) from None
    if not markers:
        raise InputFileError(f"{path} holds no marker", expected="at least one line", fix="add a row")
    return markers


def _system(path: Path, name: object) -> NDArray[np.float64]:
    # 3D Slicer wrote the system as a number until 2020: 0 is RAS, 1 is LPS.
    text = {"0": "RAS", "1": "LPS"}.get(str(name), str(name).upper())
    if text not in SYSTEMS:
        raise InputFileError(
            f"{path} has the coordinate system {name!r}", expected="LPS or RAS", fix="save it in one of them"
        )
    return SYSTEMS[text]


def _refuse_other_units(path: Path, unit: object) -> None:
    code = unit[0] if isinstance(unit, list) and unit else unit  # 3D Slicer may write a coded unit, its code first
    if code != "mm":
        raise InputFileError(f"{path} is in {code!r}", expected="positions in mm", fix="save it from a scene in mm")


def _slicer(path: Path, raw: Mapping[str, object], target: Target) -> list[Marker]:
    """Lines and ROI boxes of a .mrk.json; every one is an object of its own until they are linked."""
    markups = raw["markups"]
    markers: list[Marker] = []
    try:
        for markup in markups if isinstance(markups, list) else []:
            turn = _system(path, markup.get("coordinateSystem", "LPS"))
            _refuse_other_units(path, markup.get("coordinateUnits", "mm"))
            if markup["type"] == "Line":
                markers += _slicer_line(markup, turn, target.sliced)
            elif markup["type"] == "ROI":
                markers += _slicer_roi(markup, turn, target.sliced)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputFileError(
            f"{path} is no markups file ({error!r})", expected="3D Slicer's .mrk.json", fix="save it again"
        ) from None
    if not markers:
        raise InputFileError(
            f"{path} holds no line and no ROI", expected="markups of type Line or ROI", fix="draw lines"
        )
    return markers


def _slicer_line(markup: Mapping[str, object], turn: NDArray[np.float64], grid: Grid) -> list[Marker]:
    controls = markup["controlPoints"]
    if not isinstance(controls, list):
        raise TypeError("controlPoints is no list")
    placed = [c["position"] for c in controls if c.get("positionStatus", "defined") == "defined"]
    if not placed:
        return []
    return [marker_from_world(np.array(placed, dtype=np.float64).reshape(-1, 3) * turn, grid, 1)]


def _slicer_roi(markup: Mapping[str, object], turn: NDArray[np.float64], grid: Grid) -> list[Marker]:
    """A box in space: its outline on every slice whose centre it holds (or the nearest slice, if it is thinner)."""
    centre = np.array(markup["center"], dtype=np.float64) * turn
    axes = np.array(markup.get("orientation", np.eye(3).reshape(-1)), dtype=np.float64).reshape(3, 3) * turn[:, None]
    half = np.array(markup["size"], dtype=np.float64) / 2
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    index_83 = grid.to_index(centre + (signs * half) @ axes.T)
    low, high = index_83.min(axis=0), index_83.max(axis=0)
    first, last = int(np.ceil(low[0] - 1e-6)), int(np.floor(high[0] + 1e-6))
    slices = range(first, last + 1) if first <= last else [int(np.floor(grid.to_index(centre)[0, 0] + 0.5))]
    corners = ((float(low[2]), float(low[1])), (float(high[2]), float(high[1])))
    return [Marker(1, index, corners) for index in slices]
