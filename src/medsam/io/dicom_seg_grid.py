"""The regular grid that the frames of a DICOM SEG span by themselves, with the slices that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid
from medsam.io.dicom_files import RECOPY
from medsam.io.dicom_geometry import has_place
from medsam.io.dicom_planes import Plane
from medsam.io.dicom_series import along_normal, normal_of
from medsam.io.placement import TOLERANCE_MM, affine_of


@dataclass(frozen=True)
class _Stack:
    """Even places along a normal: the first position, the step between slices and how many."""

    origin: NDArray[np.float64]
    step: NDArray[np.float64]
    count: int


def frames_grid(planes: Sequence[Plane], reference: Grid | None) -> tuple[Grid, list[int]]:
    """The grid that a SEG's frames span, and the slice of it that each frame is."""
    first = planes[0]
    if not has_place(planes):
        if len({p.shape for p in planes}) > 1:
            raise InputFileError("frames of several sizes", expected="one size", fix=RECOPY)
        spacing = (first.thickness_mm, *first.spacing_mm) if first.spacing_mm else None
        return Grid((1, *first.shape[:2]), spacing), [0] * len(planes)
    assert first.axes is not None  # noqa: S101
    assert first.spacing_mm is not None  # noqa: S101
    same = all(_alike(plane, first) for plane in planes)
    if not same:
        raise GeometryError(
            "frames of several orientations or spacings", expected="one stack", fix="split the segmentation"
        )
    stack, places = _stack(planes, reference)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = stack.step, stack.origin
    affine[:3, 1], affine[:3, 2] = first.axes[1] * first.spacing_mm[0], first.axes[0] * first.spacing_mm[1]
    return Grid((stack.count, *first.shape[:2]), affine=affine), places


def _alike(one: Plane, other: Plane) -> bool:
    pairs = ((one.axes, other.axes, 1e-4), (one.spacing_mm, other.spacing_mm, 1e-6), (one.shape, other.shape, 0.0))
    return all(np.allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=atol) for a, b, atol in pairs)


def _stack(planes: Sequence[Plane], reference: Grid | None) -> tuple[_Stack, list[int]]:
    normal, along = normal_of(planes[0]), along_normal(planes)
    positions = np.array([plane.position_mm for plane in planes])
    low, high = int(np.argmin(along)), int(np.argmax(along))
    levels = np.unique(along)
    levels = levels[np.concatenate([[True], np.diff(levels) > TOLERANCE_MM])]
    stated = _stated_spacing(planes[0])
    if len(levels) == 1:
        return _Stack(positions[low], normal * (stated or planes[0].thickness_mm), 1), [0] * len(planes)
    gaps = np.diff(levels)
    steps = [stated, *_steps_of(reference, normal), *(float(gaps.min()) / n for n in (1, 2, 3, 4))]
    for step in steps:
        counts = gaps / step if step else gaps * 0
        if step and (counts > 0.5).all() and np.abs((counts - np.rint(counts)) * step).max() <= TOLERANCE_MM:
            total = int(np.rint(counts).sum())
            vector = (positions[high] - positions[low]) / total
            places = np.rint((along - along[low]) / (along[high] - along[low]) * total).astype(int)
            off = np.linalg.norm(positions - positions[low] - places[:, None] * vector, axis=1).max()
            if off <= TOLERANCE_MM:
                return _Stack(positions[low], vector, total + 1), places.tolist()
    raise GeometryError(
        f"the segmentation's frames lie {gaps.min():.3f} to {gaps.max():.3f} mm apart",
        expected="one distance, or a whole number of it",
        fix="pass the image as reference",
    )


def _stated_spacing(plane: Plane) -> float | None:
    header = plane.instance.header
    for group in header.get("SharedFunctionalGroupsSequence") or []:
        for measures in group.get("PixelMeasuresSequence") or []:
            value = measures.get("SpacingBetweenSlices")
            return abs(float(value)) or None if value is not None else None
    return None


def _steps_of(reference: Grid | None, normal: NDArray[np.float64]) -> list[float]:
    """Distance between the reference's planes along a normal."""
    if reference is None:
        return []
    return [float(np.abs(affine_of(reference)[:3, :3].T @ normal).max())]
