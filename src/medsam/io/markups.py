"""3D Slicer's markups (.mrk.json): points, lines and boxes in patient coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError
from medsam.imaging.image import Grid

MAX_MM = 1e6  # of a position: a kilometre from the scanner is a mistake
MAX_POINTS = 100_000
SYSTEMS: Mapping[str, NDArray[np.float64]] = {"LPS": np.array([1.0, 1, 1]), "RAS": np.array([-1.0, -1, 1])}


@dataclass(frozen=True, eq=False)
class Markup:
    """One node of the file.

    Args:
        kind: As Slicer calls it: "Line", "ROI", "Fiducial", ...
        points_mm: (N, 3) LPS, its control points that are placed.
        corners_mm: (8, 3) LPS, of an ROI.
    """

    kind: str
    points_mm: NDArray[np.float64]
    corners_mm: NDArray[np.float64] | None = None


def read_system(name: object, path: Path) -> NDArray[np.float64]:
    """Signs that turn x, y, z of a named coordinate system into LPS.

    Raises:
        InputFileError: neither LPS nor RAS.
    """
    # 3D Slicer wrote the system as a number until 2020: 0 is RAS, 1 is LPS.
    text = {"0": "RAS", "1": "LPS"}.get(str(name)[:40], str(name)[:40].upper())
    if text not in SYSTEMS:
        raise InputFileError(
            f"{path} has the coordinate system {str(name)[:40]!r}",
            expected="LPS or RAS",
            fix="save it in one of them",
        )
    return SYSTEMS[text]


def parse_markups(raw: object, path: Path) -> list[Markup]:
    """Take the nodes of a markups file.

    Args:
        raw: Its list "markups".
        path: For the messages.

    Raises:
        InputFileError: not as Slicer writes it, in another unit than mm, or positions that are no places.
    """
    markups = []
    for node in raw if isinstance(raw, list) else []:
        try:
            turn = read_system(node.get("coordinateSystem", "LPS"), path)
            _refuse_other_units(path, node.get("coordinateUnits", "mm"))
            kind = str(node["type"])[:40]
            controls = node["controlPoints"] if kind in ("Line", "Fiducial") else []
            placed = [c["position"] for c in controls[:MAX_POINTS] if c.get("positionStatus", "defined") == "defined"]
            points = np.array(placed, dtype=np.float64).reshape(-1, 3) * turn
            corners = _corners(node, turn) if kind == "ROI" else None
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputFileError(
                f"{path} is no markups file ({type(error).__name__}: {str(error)[:80]})",
                expected="3D Slicer's .mrk.json",
                fix="save it again",
            ) from None
        every = points if corners is None else np.vstack([points, corners])
        if not (np.abs(every) <= MAX_MM).all():  # NaN too
            raise InputFileError(
                f"{path} holds a position far from any scanner", expected="positions in mm", fix="draw it again"
            )
        markups.append(Markup(kind, points, corners))
    return markups


def _refuse_other_units(path: Path, unit: object) -> None:
    code = unit[0] if isinstance(unit, list) and unit else unit  # 3D Slicer may write a coded unit, its code first
    if code != "mm":
        raise InputFileError(
            f"{path} is in {str(code)[:40]!r}", expected="positions in mm", fix="save it from a scene in mm"
        )


def _corners(node: Mapping[str, object], turn: NDArray[np.float64]) -> NDArray[np.float64]:
    centre = np.array(node["center"], dtype=np.float64).reshape(3) * turn
    axes = np.array(node.get("orientation", np.eye(3).reshape(-1)), dtype=np.float64).reshape(3, 3) * turn[:, None]
    half = np.array(node["size"], dtype=np.float64).reshape(3) / 2
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    corners: NDArray[np.float64] = centre + (signs * half) @ axes.T
    return corners


def find_box_on_slices(markup: Markup, grid: Grid) -> tuple[range, tuple[float, float, float, float]]:
    """The slices whose centre an ROI holds (the nearest one, if it is thinner) and its outline there.

    Args:
        markup: An ROI.
        grid: Of the scan, slices first.

    Returns:
        Slice numbers, which may reach one beyond the scan on each side where the ROI does, and x0 y0 x1 y1 in pixels.
    """
    assert markup.corners_mm is not None  # noqa: S101 - the caller asks for ROIs
    index_83 = grid.to_index(markup.corners_mm)
    low, high = index_83.min(axis=0), index_83.max(axis=0)
    first, last = int(np.ceil(low[0] - 1e-6)), int(np.floor(high[0] + 1e-6))
    if first > last:
        first = last = int(np.floor(index_83[:, 0].mean() + 0.5))
    first, last = max(first, -1), min(last, grid.shape[0])  # an ROI of a kilometre does not cost a kilometre of slices
    return range(first, max(first, last) + 1), (float(low[2]), float(low[1]), float(high[2]), float(high[1]))
