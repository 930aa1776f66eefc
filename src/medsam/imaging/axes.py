"""Long and short axis of an outline in one slice, as RECIST measures them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from medsam.errors import PromptError

Point = tuple[float, float]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Axes:
    """The two axes of one outline.

    Args:
        long_xy: Ends of the longest diameter, in slice pixels.
        short_xy: Ends of the longest diameter perpendicular to it.
        long: Its length, in the unit of the spacing.
        short: The other's length.
    """

    long_xy: tuple[Point, Point]
    short_xy: tuple[Point, Point]
    long: float
    short: float


def measure_axes(mask_HW: NDArray[np.bool_], spacing_yx: tuple[float, float], *, corners: bool) -> Axes:
    """Find the longest diameter of a mask and the longest one perpendicular to it, exactly.

    Args:
        mask_HW: The object on one slice; parts that hang apart are measured together.
        spacing_yx: Distance of rows and of columns.
        corners: Measure to the outer corners of the pixels (the drawn area) instead of to their centres.

    Returns:
        Axes in the mask's convex hull; both meet.

    Raises:
        PromptError: the mask is empty.
    """
    scale_xy = np.array([spacing_yx[1], spacing_yx[0]])
    hull = _hull(np.unique(_rim(mask_HW, corners=corners), axis=0) * scale_xy)
    distances = cdist(hull, hull)
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    start, stop = hull[first], hull[second]
    length = float(distances[first, second])
    across = _widest(hull, start, (stop - start) / length) if length > 0 else (start, start)
    return Axes(
        long_xy=(_point(start / scale_xy), _point(stop / scale_xy)),
        short_xy=(_point(across[0] / scale_xy), _point(across[1] / scale_xy)),
        long=length,
        short=float(np.linalg.norm(across[1] - across[0])),
    )


def longest_of(mask_HW: NDArray[np.bool_], spacing_yx: tuple[float, float], *, corners: bool) -> float:
    """The length of the long axis alone, in a fraction of the time.

    Args:
        mask_HW: As for measure_axes, as are the others.

    Raises:
        PromptError: the mask is empty.
    """
    hull = _hull(_rim(mask_HW, corners=corners) * np.array([spacing_yx[1], spacing_yx[0]]))
    return float(cdist(hull, hull).max())


def _point(xy: Points) -> Point:
    return float(xy[0]), float(xy[1])


def _rim(mask_HW: NDArray[np.bool_], *, corners: bool) -> Points:
    """First and last foreground pixel of every row, (N, 2) x y, some twice: the hull needs no others."""
    rows = np.flatnonzero(mask_HW.any(axis=1))
    if not len(rows):
        raise PromptError("the mask is empty", expected="an object to measure", fix="skip this slice")
    part = mask_HW[rows]
    first, last = part.argmax(axis=1), mask_HW.shape[1] - 1 - part[:, ::-1].argmax(axis=1)
    points = np.column_stack([np.concatenate([first, last]), np.concatenate([rows, rows])]).astype(np.float64)
    if not corners:
        return points
    shifts = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])
    rim: Points = (points[:, None] + shifts).reshape(-1, 2)  # (N, 4, 2) -> (4 N, 2)
    return rim


def _hull(points_N2: Points) -> Points:
    """Corners of the convex hull in order; for points on one line, its two ends."""
    if len(points_N2) > 2:
        try:
            corners: Points = points_N2[ConvexHull(points_N2).vertices]
            return corners
        except QhullError:
            pass
    order = np.lexsort((points_N2[:, 1], points_N2[:, 0]))
    return points_N2[order[[0, -1]]]


def _widest(hull_N2: Points, start: Points, along: Points) -> tuple[Points, Points]:
    """The longest chord of a convex outline perpendicular to a direction.

    The chord's length is concave and piecewise linear along that direction, so a corner of the outline is on it.
    """
    normal = np.array([-along[1], along[0]])
    t, u = (hull_N2 - start) @ along, (hull_N2 - start) @ normal
    next_t, next_u = np.roll(t, -1), np.roll(u, -1)
    best, ends = -1.0, (start, start)
    for position in t:
        spans = (np.minimum(t, next_t) <= position) & (position <= np.maximum(t, next_t))
        steep = spans & (np.abs(next_t - t) > 1e-12)
        share = np.clip((position - t[steep]) / (next_t - t)[steep], 0, 1)
        hits = np.concatenate([u[steep] + share * (next_u - u)[steep], u[np.abs(t - position) <= 1e-12]])
        if len(hits) and hits.max() - hits.min() > best:
            best = float(hits.max() - hits.min())
            foot = start + position * along
            ends = (foot + hits.min() * normal, foot + hits.max() * normal)
    return ends
