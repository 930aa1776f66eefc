"""Where the slices of a DICOM volume lie: one affine that is right for every pixel to 0.01 mm, or an error in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError
from medsam.imaging.image import Grid
from medsam.io.dicom.planes import SAME_PLACE_MM, Plane, compute_normal, project_on_normal

TOLERANCE_MM = 0.01
UNEVEN = 0.01  # a distance between slices may differ from the usual one by this share of it before it is a gap
TILT_DEGREES = 0.05  # below it a shift is rounding in the header; the affine follows it either way
SHOWN = 5
RESAMPLE = "fetch the missing slices, or pass geometry='resample' (--geometry resample) to interpolate"

Vector = NDArray[np.float64]


def has_place(planes: Sequence[Plane]) -> bool:
    """Whether the header says where the frames lie in the patient."""
    return all(p.position_mm is not None and p.axes is not None and p.spacing_mm is not None for p in planes)


def make_grid_without_place(planes: Sequence[Plane]) -> Grid:
    """Grid of a projection, a photograph or a cine: pixel spacing if there is one frame and it is known.

    The frames of a cine have no distance in space, so a cine has no spacing at all.

    Raises:
        GeometryError: slices of a volume that lack only their pixel spacing.
    """
    first = planes[0]
    shape = (len(planes), *first.shape[:2])
    if first.position_mm is not None and first.axes is not None and len(planes) > 1:
        raise GeometryError(
            "the slices have no pixel spacing", expected="PixelSpacing in every slice", fix="export it again"
        )
    if first.spacing_mm is None or len(planes) > 1:
        return Grid(shape)
    return Grid(shape, (first.thickness_mm, *first.spacing_mm))


def measure_grid(planes: Sequence[Plane]) -> Grid:
    """The grid of slices with a place, sorted along their normal.

    Args:
        planes: All with position, axes and spacing; same size and direction.

    Raises:
        GeometryError: doubled or missing slices, tilt, mixed spacing; anything that puts a pixel off by 0.01 mm.
    """
    first = planes[0]
    positions = np.array([plane.position_mm for plane in planes])
    index = np.arange(len(planes)) - (len(planes) - 1) / 2
    step = index @ positions / (index @ index) if len(planes) > 1 else compute_normal(first) * first.thickness_mm
    if len(planes) > 1:
        refuse_mixed(planes)
        refuse_doubled(planes)
        _refuse_gaps(planes)
        _refuse_tilt(step, compute_normal(first), len(planes))
    affine = _affine(first, step, positions.mean(axis=0) + step * index[0])
    grid = Grid((len(planes), *first.shape[:2]), affine=affine)
    _refuse_inexact(grid, planes)
    return grid


def _affine(first: Plane, step: Vector, origin: Vector) -> Vector:
    assert first.axes is not None  # noqa: S101 - see measure_grid
    assert first.spacing_mm is not None  # noqa: S101
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.axes[1] * first.spacing_mm[0]
    affine[:3, 2] = first.axes[0] * first.spacing_mm[1]
    affine[:3, 3] = origin
    return affine


def refuse_mixed(planes: Sequence[Plane]) -> None:
    """Refuse slices whose far corners would be off by more than the tolerance if they shared the first one's axes.

    Raises:
        GeometryError: pixel spacing or orientation changes within the volume.
    """
    spans = np.array([_corner_spans(plane) for plane in planes])
    error_mm = float(np.linalg.norm(spans - spans[0], axis=-1).sum(axis=-1).max())
    if error_mm > TOLERANCE_MM:
        kinds = len({plane.spacing_mm for plane in planes})
        what = f"{kinds} pixel spacings" if kinds > 1 else "several orientations"
        raise GeometryError(
            f"the slices have {what}, {error_mm:.3f} mm apart at their far corner",
            expected="one pixel spacing and one orientation",
            fix="choose one series, or export it again",
        )


def _corner_spans(plane: Plane) -> Vector:
    assert plane.axes is not None  # noqa: S101 - see measure_grid
    assert plane.spacing_mm is not None  # noqa: S101
    along_row, along_column = plane.axes
    rows, columns = plane.shape[:2]
    return np.array([along_column * plane.spacing_mm[0] * (rows - 1), along_row * plane.spacing_mm[1] * (columns - 1)])


def refuse_doubled(planes: Sequence[Plane]) -> None:
    """Refuse two different slices at one place.

    Raises:
        GeometryError: the message names the positions along the normal in mm.
    """
    places = project_on_normal(planes)
    doubled = np.flatnonzero(np.diff(places) < SAME_PLACE_MM)
    if len(doubled):
        where = _listed([f"{places[i]:.3f}" for i in doubled])
        raise GeometryError(
            f"{len(doubled)} of {len(planes)} slices lie at the place of another, at {where} mm along the normal",
            expected="one slice per place",
            fix="remove the doubled slices, or export one volume at a time",
        )


def _refuse_gaps(planes: Sequence[Plane]) -> None:
    places = project_on_normal(planes)
    gaps = np.diff(places)
    usual = float(np.median(gaps))
    bad = np.flatnonzero(np.abs(gaps - usual) > max(TOLERANCE_MM, UNEVEN * usual))
    if len(bad):
        where = _listed([f"{gaps[i]:.3f} mm between {places[i]:.3f} and {places[i + 1]:.3f} mm" for i in bad])
        raise GeometryError(
            f"{len(bad)} of {len(gaps)} distances between slices are not {usual:.3f} mm: {where}",
            expected="evenly spaced slices",
            fix=RESAMPLE,
        )


def _refuse_tilt(step: Vector, normal: Vector, count: int) -> None:
    along = float(step @ normal)
    sideways_mm = float(np.linalg.norm(step - along * normal))
    degrees = float(np.degrees(np.arctan2(sideways_mm, along)))
    if degrees > TILT_DEGREES:
        raise GeometryError(
            f"the gantry is tilted by {degrees:.2f} degrees: each slice is shifted by {sideways_mm:.3f} mm, "
            f"{sideways_mm * (count - 1):.3f} mm in all",
            expected="slices stacked along their normal",
            fix="pass geometry='resample' (--geometry resample) to interpolate onto an upright grid",
        )


def _refuse_inexact(grid: Grid, planes: Sequence[Plane]) -> None:
    """The last word: the affine against every slice's own header, at its four corners."""
    rows, columns = planes[0].shape[:2]
    depth = np.arange(len(planes))
    worst = 0.0
    spans = np.array([_corner_spans(plane) for plane in planes])
    origins = np.array([plane.position_mm for plane in planes])
    for down in (0, 1):
        for across in (0, 1):
            index = np.column_stack(
                [depth, np.full_like(depth, down * (rows - 1)), np.full_like(depth, across * (columns - 1))]
            )
            own = origins + down * spans[:, 0] + across * spans[:, 1]
            worst = max(worst, float(np.linalg.norm(grid.to_world(index) - own, axis=1).max()))
    if worst > TOLERANCE_MM:
        raise GeometryError(
            f"the slices lie up to {worst:.3f} mm off an even grid", expected=f"at most {TOLERANCE_MM} mm", fix=RESAMPLE
        )


def _listed(items: Sequence[str]) -> str:
    rest = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + rest
