"""The DICOM series a mask belongs to: found, and matched slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medsam.errors import GeometryError, InputFileError, MedsamError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.dicom.attributes import read_number
from medsam.io.dicom.files import read_contents, silence_parser
from medsam.io.dicom.geometry import has_place, make_grid_without_place, measure_grid
from medsam.io.dicom.grouping import FrameGroup, group_planes
from medsam.io.dicom.planes import Plane
from medsam.io.dicom.resample import plan_upright_grid
from medsam.io.dicom.series import list_groups, select_groups
from medsam.io.placement import TOLERANCE_MM, place, require_affine


@dataclass(frozen=True, eq=False)
class ReferenceSeries:
    """The series under a mask.

    Args:
        mask: The mask, its slices in the order of the series.
        planes: Frames of the series.
        frames: For each slice of the mask the frame it lies on, None where the series has none there.
        placed: Whether the series says where it lies in the patient.
    """

    mask: Mask
    planes: tuple[Plane, ...]
    frames: tuple[Plane | None, ...]
    placed: bool

    @property
    def headers(self) -> list[Dataset]:
        """One header per object of the series, in the order of the frames."""
        return [i.header for i in {id(p.instance): p.instance for p in self.planes}.values()]

    @property
    def one_to_one(self) -> bool:
        """Whether slice k of the mask is frame k of the series, for all of them."""
        return len(self.frames) == len(self.planes) and all(
            a is b for a, b in zip(self.frames, self.planes, strict=True)
        )


def match_source(mask: Mask, reference: Path | None, kind: str, *, series: str | None = None) -> ReferenceSeries:
    """Find the series among a reference's that a mask was drawn on.

    Args:
        mask: Labels on the grid of the series, possibly in another order of axes, or on the regular grid that
            geometry="resample" makes of a gapped or tilted series.
        reference: A DICOM file, folder or zip.
        kind: What is being written, for messages.
        series: Key or UID of the one that was segmented, as read_image takes it, where several have its grid.

    Raises:
        OutputError: no reference.
        InputFileError: the reference is not DICOM, or several of its series have this grid.
        GeometryError: none of its series has this grid.
    """
    groups, name = _candidates(reference, kind, series)
    return _match_one(mask, groups, name)


def _match_one(mask: Mask, groups: Sequence[FrameGroup], name: str) -> ReferenceSeries:
    found, reasons = [], []
    for group in groups:
        try:
            found.append((group, _matched(mask, group)))
        except MedsamError as error:
            reasons.append(f"{group.summary}: {error.got}")
    if not found:
        raise GeometryError(
            f"the mask of shape {mask.grid.shape} lies on no series of {name} ({'; '.join(reasons[:4])})",
            expected="the grid of its source series",
            fix="give the series that was segmented",
        )
    if len(found) > 1:
        raise InputFileError(
            f"{len(found)} series or volumes of {name} have the grid of the mask: "
            + list_groups([group for group, _ in found]),
            expected="one",
            fix="name the one that was segmented with series= (--series)",
        )
    return found[0][1]


def check_source(
    kind: str,
    build: Callable[[ReferenceSeries, Sequence[int]], Dataset],
    reference: Path,
    *,
    series: str | None,
    grid: Grid | None,
) -> None:
    """Refuse a series over which no object could be written, before a mask is made for it.

    Where only the grid of the mask will tell which of several series is meant, nothing is refused yet.

    Args:
        kind: As in match_source.
        build: Makes the object of a mask, here of one voxel.
        reference: As in match_source.
        series: As in match_source.
        grid: Of the image that is to be segmented; that of the series without it.

    Raises:
        MedsamError: as match_source, or what build raises.
    """
    groups, name = _candidates(reference, kind, series)
    if grid is None:
        if len(groups) > 1:
            return
        grid = _own_grid(groups[0].planes)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[0, 0, 0] = 1
    source = _match_one(Mask(labels, grid), groups, name)
    with silence_parser():
        build(source, [1])


def _candidates(reference: Path | None, kind: str, series: str | None) -> tuple[list[FrameGroup], str]:
    if reference is None:
        raise OutputError(
            f"{kind} without a reference",
            expected="the DICOM series the mask belongs to",
            fix="pass reference= (--reference)",
        )
    with silence_parser():
        groups = group_planes(read_contents(reference).instances)
    return select_groups(groups, series, reference.name), reference.name


def _own_grid(planes: Sequence[Plane]) -> Grid:
    """The grid that read_image gives the series, resampled where it must be."""
    if not has_place(planes):
        return make_grid_without_place(planes)
    try:
        return measure_grid(planes)
    except GeometryError:
        if len(planes) == 1:
            raise
        return plan_upright_grid(planes).grid


def _matched(mask: Mask, group: FrameGroup) -> ReferenceSeries:
    planes = group.planes
    if not has_place(planes):
        grid = make_grid_without_place(planes)
        if mask.grid.shape != grid.shape:
            raise GeometryError(f"shape {grid.shape}", expected="the mask's shape", fix="give another series")
        return ReferenceSeries(mask, planes, planes, placed=False)
    try:
        grid = measure_grid(planes)
        laid = place(mask, grid)
    except GeometryError:  # gapped or tilted, or segmented after resampling all the same
        if len(planes) == 1:
            raise
        grid = plan_upright_grid(planes).grid
        laid = place(mask, grid)
    frames = planes if len(planes) == grid.shape[0] and _all_on(grid, planes) else _frames_on(grid, planes)
    return ReferenceSeries(laid, planes, tuple(frames), placed=True)


def _all_on(grid: Grid, planes: Sequence[Plane]) -> bool:
    return all(_is_at(grid, k, plane) for k, plane in enumerate(planes))


def _frames_on(grid: Grid, planes: Sequence[Plane]) -> list[Plane | None]:
    frames: list[Plane | None] = [None] * grid.shape[0]
    nearest = np.rint(grid.to_index(np.array([plane.position_mm for plane in planes]))[:, 0]).astype(int)
    for k, plane in zip(nearest.tolist(), planes, strict=True):
        if 0 <= k < len(frames) and _is_at(grid, k, plane):
            frames[k] = plane
    return frames


def _is_at(grid: Grid, k: int, plane: Plane) -> bool:
    """Whether a frame is slice k of a grid, every corner within TOLERANCE_MM."""
    assert plane.axes is not None  # noqa: S101 - only called for frames with a place
    assert plane.spacing_mm is not None  # noqa: S101
    assert plane.position_mm is not None  # noqa: S101
    if plane.shape[:2] != grid.shape[1:]:
        return False
    affine = require_affine(grid)
    own = np.column_stack([plane.axes[1] * plane.spacing_mm[0], plane.axes[0] * plane.spacing_mm[1], plane.position_mm])
    there = np.column_stack([affine[:3, 1], affine[:3, 2], affine[:3, 3] + k * affine[:3, 0]])
    height, width = grid.shape[1:]
    corners = np.array([(0, 0, 1), (height - 1, 0, 1), (0, width - 1, 1), (height - 1, width - 1, 1)]).T
    return bool(np.linalg.norm((own - there) @ corners, axis=0).max() <= TOLERANCE_MM)


def derive_series_number(header: Dataset) -> int:
    """A number for a series derived from another, apart from the usual numbers of a scanner."""
    number = int(read_number(header, "SeriesNumber"))
    return (number if 0 <= number < 100_000 else 0) + 1000
