"""A gapped, uneven or tilted DICOM volume brought onto a regular, upright grid by linear interpolation.

Shape legend: D slices, H rows, W columns, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError
from medsam.imaging.image import Grid
from medsam.io.dicom.geometry import refuse_doubled, refuse_mixed
from medsam.io.dicom.planes import Plane, compute_normal, project_on_normal

MAX_GROWTH = 8  # most voxels that one voxel of the source may become
NOTHING_PX = 1e-3  # a sideways shift below this is rounding


@dataclass(frozen=True, eq=False)
class Upright:
    """A regular grid over slices and where each slice lies on it.

    Args:
        grid: Slices stacked along their normal at an even distance.
        places: (D,) source slices, in fractional slices of the grid.
        shifts: (D, 2) rows and columns by which each source slice is moved on the grid.
    """

    grid: Grid
    places: NDArray[np.float64]
    shifts: NDArray[np.float64]


def plan_upright_grid(planes: Sequence[Plane]) -> Upright:
    """Plan the regular grid that covers slices with a place, sorted along their normal.

    Raises:
        GeometryError: doubled slices, mixed spacing or orientation, or a grid out of all proportion.
    """
    first = planes[0]
    assert first.axes is not None  # noqa: S101 - callers pass slices with a place
    assert first.spacing_mm is not None  # noqa: S101
    refuse_mixed(planes)
    refuse_doubled(planes)
    normal, along = compute_normal(first), project_on_normal(planes)
    positions = np.array([plane.position_mm for plane in planes])
    count, distance = _even(along)
    sideways = positions - positions[0] - np.outer(along - along[0], normal)
    # Solved, not projected: row and column directions may be a hair off the right angle.
    in_plane = np.column_stack([first.axes[1] * first.spacing_mm[0], first.axes[0] * first.spacing_mm[1]])
    shifts = np.linalg.lstsq(in_plane, sideways.T, rcond=None)[0].T
    low, extent = shifts.min(axis=0), np.ptp(shifts, axis=0)
    extra = np.where(extent > NOTHING_PX, np.ceil(extent - NOTHING_PX), 0).astype(int)
    shape = (count, first.shape[0] + int(extra[0]), first.shape[1] + int(extra[1]))
    if np.prod(shape, dtype=float) > MAX_GROWTH * len(planes) * first.shape[0] * first.shape[1]:
        raise GeometryError(
            f"{len(planes)} slices would become {shape[0]} x {shape[1]} x {shape[2]} voxels",
            expected=f"at most {MAX_GROWTH} times the voxels",
            fix="check the slice positions; too much of the volume is missing",
        )
    affine = np.eye(4)
    affine[:3, 0] = normal * distance
    affine[:3, 1:3] = in_plane
    affine[:3, 3] = positions[0] + in_plane @ low
    return Upright(Grid(shape, affine=affine), (along - along[0]) / distance, shifts - low)


def _even(along: NDArray[np.float64]) -> tuple[int, float]:
    """How many slices at which distance in mm cover the same extent, at about the usual distance."""
    usual = float(np.median(np.diff(along)))
    count = round(float(along[-1] - along[0]) / usual) + 1
    return count, float(along[-1] - along[0]) / (count - 1)


def resample(values: np.ndarray, upright: Upright) -> np.ndarray:
    """Interpolate slices linearly onto the upright grid; what no slice covers gets the lowest value.

    Args:
        values: (D, H, W) or (D, H, W, C), sorted along the normal.
        upright: From plan_upright_grid.

    Returns:
        Values of the same dtype on upright.grid; integers are rounded.
    """
    lowest = float(values.min())
    shape = upright.grid.shape
    out = np.empty((*shape, *values.shape[3:]), dtype=values.dtype)

    @lru_cache(maxsize=2)
    def laid(index: int) -> NDArray[np.float32]:
        return _laid(values[index], shape[1:], upright.shifts[index], lowest)

    for k in range(shape[0]):
        above = int(np.clip(np.searchsorted(upright.places, k + 1e-6, side="right") - 1, 0, len(values) - 2))
        weight = (k - upright.places[above]) / (upright.places[above + 1] - upright.places[above])
        weight = float(np.clip(weight, 0, 1))
        if weight < 1e-5:
            plane = laid(above)
        elif weight > 1 - 1e-5:
            plane = laid(above + 1)
        else:
            plane = (1 - weight) * laid(above) + weight * laid(above + 1)
        out[k] = np.rint(plane) if out.dtype.kind in "iu" else plane
    return out


def _laid(plane: np.ndarray, size: tuple[int, ...], shift: NDArray[np.float64], lowest: float) -> NDArray[np.float32]:
    """One slice moved by a fraction of a pixel onto a larger canvas."""
    kind = (
        np.float64
        if plane.dtype.itemsize > 4 or (plane.dtype.kind in "iu" and plane.dtype.itemsize == 4)
        else np.float32
    )
    whole = np.floor(shift + NOTHING_PX).astype(int)
    fraction = np.clip(shift - whole, 0, None)
    canvas = np.full((*size, *plane.shape[2:]), lowest, dtype=kind)
    (y, x), (height, width) = whole, plane.shape[:2]
    canvas[y : y + height, x : x + width] = plane
    for axis in (0, 1):
        if fraction[axis] > NOTHING_PX:
            before = np.roll(canvas, 1, axis=axis)
            canvas = (1 - fraction[axis]) * canvas + fraction[axis] * before
    return canvas.astype(kind, copy=False)
