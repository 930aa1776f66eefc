"""The regular grid that the frames of a DICOM SEG span by themselves, with the slices that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid
from medsam.io.dicom.attributes import read_number, read_text
from medsam.io.dicom.files import RECOPY
from medsam.io.dicom.geometry import has_place
from medsam.io.dicom.planes import MAX_FRAMES, Plane, compute_normal, project_on_normal
from medsam.io.placement import TOLERANCE_MM, require_affine


@dataclass(frozen=True)
class _Stack:
    """Even places along a normal: the first position, the step between slices and how many."""

    origin: NDArray[np.float64]
    step: NDArray[np.float64]
    count: int


def find_frames_grid(planes: Sequence[Plane], reference: Grid | None) -> tuple[Grid, list[int]]:
    """Find the grid that a SEG's frames span, and the slice of it that each frame is.

    Args:
        planes: Frames of the SEG.
        reference: Grid of the image, None if it is not known.

    Raises:
        InputFileError: frames that say neither where they lie nor on which frame of one source.
        GeometryError: frames that make no regular stack.
    """
    first = planes[0]
    if not has_place(planes):
        return _moments(planes, reference)
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


def refuse_repeated(places: Sequence[int], segments: Sequence[int], name: str) -> None:
    """Refuse several frames of one segment on one slice: painted over each other they would be no moment of any.

    Args:
        places: The slice of each frame.
        segments: The segment of each frame, 0 where the pixels say it.
        name: For messages.

    Raises:
        InputFileError: a segment has two frames on one slice.
    """
    repeated = len(places) - len(set(zip(places, segments, strict=True)))
    if repeated:
        raise InputFileError(
            f"{name} has {repeated} of {len(places)} frames at the place of another frame of the same segment",
            expected="one frame of a segment per slice, not several moments of a cine or phases of one place",
            fix="export one moment or phase at a time with the program that made it",
        )


def _moments(planes: Sequence[Plane], reference: Grid | None) -> tuple[Grid, list[int]]:
    """Frames without a place lie on the frames of the cine that they were drawn on."""
    first = planes[0]
    sources = [_source_frame(plane) for plane in planes]
    named = {uid for uid, _ in filter(None, sources)}
    if len(named) > 1:
        raise InputFileError(
            f"{first.instance.name} lies on {len(named)} images without a place",
            expected="frames with a place, or of one image",
            fix="export a segmentation of each image",
        )
    places = [0 if source is None else source[1] - 1 for source in sources]
    if min(places) < 0 or (None in sources and max(places) > 0):
        raise InputFileError(
            f"{first.instance.name} has frames that name no frame of their source",
            expected="a ReferencedFrameNumber from 1 in each",
            fix=RECOPY,
        )
    known = reference.shape[0] if reference is not None and reference.shape[1:] == first.shape[:2] else 0
    depth = max(known, max(places) + 1)
    if depth > MAX_FRAMES:
        raise InputFileError(f"{first.instance.name} names frame {depth}", expected=f"{MAX_FRAMES} at most", fix=RECOPY)
    spacing = (first.thickness_mm, *first.spacing_mm) if first.spacing_mm and depth == 1 else None
    return Grid((depth, *first.shape[:2]), spacing), places


def _source_frame(plane: Plane) -> tuple[str, int] | None:
    """SOPInstanceUID and frame number, from 1, of the one image that a frame was drawn on."""
    group = (plane.instance.header.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * (plane.frame + 1))[
        plane.frame
    ]
    shared = (plane.instance.header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for holder in (group, shared):
        images = [
            image
            for derivation in holder.get("DerivationImageSequence") or ()
            for image in derivation.get("SourceImageSequence") or ()
        ]
        if len(images) == 1:
            number = int(read_number(images[0], "ReferencedFrameNumber", 1.0))
            return read_text(images[0], "ReferencedSOPInstanceUID"), number
    return None


def _alike(one: Plane, other: Plane) -> bool:
    pairs = ((one.axes, other.axes, 1e-4), (one.spacing_mm, other.spacing_mm, 1e-6), (one.shape, other.shape, 0.0))
    return all(np.allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=atol) for a, b, atol in pairs)


def _stack(planes: Sequence[Plane], reference: Grid | None) -> tuple[_Stack, list[int]]:
    normal, along = compute_normal(planes[0]), project_on_normal(planes)
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
    for group in plane.instance.header.get("SharedFunctionalGroupsSequence") or ():
        for measures in group.get("PixelMeasuresSequence") or ():
            return abs(read_number(measures, "SpacingBetweenSlices")) or None
    return None


def _steps_of(reference: Grid | None, normal: NDArray[np.float64]) -> list[float]:
    """Distance between the reference's planes along a normal."""
    if reference is None:
        return []
    return [float(np.abs(require_affine(reference)[:3, :3].T @ normal).max())]
