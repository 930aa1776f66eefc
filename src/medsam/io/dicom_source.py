"""The DICOM series a mask belongs to: found, and matched slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medsam.errors import GeometryError, InputFileError, MedsamError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.dicom_files import quiet, read_contents
from medsam.io.dicom_geometry import grid_of, grid_without_place, has_place
from medsam.io.dicom_planes import Plane
from medsam.io.dicom_resample import upright_grid
from medsam.io.dicom_series import NOT_IMAGES, Group, group_planes
from medsam.io.placement import TOLERANCE_MM, affine_of, place

# What all objects of a study repeat of patient and study; empty where the source lacks it.
STUDY_KEYWORDS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Source:
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


def match_source(mask: Mask, reference: Path | None, kind: str, *, series: str | None = None) -> Source:
    """Find the series among a reference's that a mask was drawn on.

    Args:
        mask: Labels on the grid of the series, possibly in another order of axes, or on the regular grid that
            geometry="resample" makes of a gapped or tilted series.
        reference: A DICOM file, folder or zip.
        kind: What is being written, for messages.
        series: SeriesInstanceUID of the one that was segmented, where several have its grid.

    Raises:
        OutputError: no reference.
        InputFileError: the reference is not DICOM, or several of its series have this grid.
        GeometryError: none of its series has this grid.
    """
    if reference is None:
        raise OutputError(
            f"{kind} without a reference",
            expected="the DICOM series the mask belongs to",
            fix="pass reference= (--reference)",
        )
    with quiet():
        groups = group_planes(read_contents(reference).instances)
    images = [group for group in groups if group.summary.modality not in NOT_IMAGES] or groups
    images = [group for group in images if series in (None, group.summary.uid)]
    found, reasons = [], []
    for group in images:
        try:
            found.append((group, _matched(mask, group)))
        except MedsamError as error:
            reasons.append(f"{group.summary}: {error.got}")
    if not found:
        raise GeometryError(
            f"the mask of shape {mask.grid.shape} lies on no series of {reference.name} ({'; '.join(reasons[:4])})",
            expected="the grid of its source series",
            fix="give the series that was segmented",
        )
    if len({group.summary.uid for group, _ in found}) > 1:
        raise InputFileError(
            f"{len(found)} series of {reference.name} have the grid of the mask",
            expected="one",
            fix="name the one that was segmented with series= (--series)",
        )
    return found[0][1]


def _matched(mask: Mask, group: Group) -> Source:
    planes = group.planes
    if not has_place(planes):
        grid = grid_without_place(planes)
        if mask.grid.shape != grid.shape:
            raise GeometryError(f"shape {grid.shape}", expected="the mask's shape", fix="give another series")
        return Source(mask, planes, planes, placed=False)
    try:
        grid = grid_of(planes)
        laid = place(mask, grid)
    except GeometryError:  # gapped or tilted, or segmented after resampling all the same
        if len(planes) == 1:
            raise
        grid = upright_grid(planes).grid
        laid = place(mask, grid)
    frames = planes if len(planes) == grid.shape[0] and _all_on(grid, planes) else _frames_on(grid, planes)
    return Source(laid, planes, tuple(frames), placed=True)


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
    affine = affine_of(grid)
    own = np.column_stack([plane.axes[1] * plane.spacing_mm[0], plane.axes[0] * plane.spacing_mm[1], plane.position_mm])
    there = np.column_stack([affine[:3, 1], affine[:3, 2], affine[:3, 3] + k * affine[:3, 0]])
    height, width = grid.shape[1:]
    corners = np.array([(0, 0, 1), (height - 1, 0, 1), (0, width - 1, 1), (height - 1, width - 1, 1)]).T
    return bool(np.linalg.norm((own - there) @ corners, axis=0).max() <= TOLERANCE_MM)


def series_number(header: Dataset) -> int:
    """A number for a series derived from another, apart from the usual numbers of a scanner."""
    number = header.get("SeriesNumber")
    return (int(number) if number is not None and 0 <= int(number) < 100_000 else 0) + 1000
