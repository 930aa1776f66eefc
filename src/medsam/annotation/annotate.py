"""From sparse markers to a 3D mask (paper, Human annotation study, steps 1 to 3).

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.interpolation import boxes_from_markers
from medsam.annotation.markers import Marker, collect_markers
from medsam.imaging.box_options import BetweenSlices, BoxOptions
from medsam.imaging.boxes import Box, box_from_mask, fit_box
from medsam.imaging.frame import Frame
from medsam.imaging.image import Image, Mask, find_slice_axis, move_axis
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.inference.volume.segment import segment
from medsam.inference.volume.tracks import Follow, Track
from medsam.progress import Progress


@dataclass(frozen=True, eq=False)
class AnnotationResult:
    """A mask made from markers, with what made it.

    Args:
        mask: On the image's grid; labels are those of the markers. Objects come in the order of their labels, so that the
            higher one stays where two meet.
        boxes: {label: {slice: (x0, y0, x1, y1)}} as given to the model, in slice pixels of the plane marked.
        scores: {label: {slice: score}}, one for each box; low ones are worth a look.
        seconds: Wall clock of "boxes", "encode" and "decode".
    """

    mask: Mask
    boxes: Mapping[int, Mapping[int, Box]]
    scores: Mapping[int, Mapping[int, float]]
    seconds: Mapping[str, float]


def annotate(
    predictor: Predictor, image: Image, markers: Mask | np.ndarray | Sequence[Marker], *, interpolation: BetweenSlices = BoxOptions.interpolation,
    margin_px: float | None = BoxOptions.margin_px, max_gap: int | None = None, plane: str | int = 0,
    cache: EmbeddingCache | None = None, progress: Progress | None = None,
) -> AnnotationResult:  # fmt: skip
    """Turn axis lines drawn on some slices into a mask on all slices between them.

    Args:
        predictor: A loaded model.
        image: Normalized (uint8).
        markers: A label volume of the image's voxels in any order (a Mask), an array on its grid, or markers in slices
            of the plane.
        interpolation: "round", "linear", or "legacy" for the released distance maps (BoxOptions).
        margin_px: Added to every side of a box, in slice pixels; 0 is the bare rectangle, None what BoxOptions says.
        max_gap: Marked slices further apart than this are not bridged.
        plane: The slices marked: "axial", "coronal", "sagittal" or an array axis.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all).

    Raises:
        PromptError, GeometryError, IntensityError: markers outside the scan or on another grid, a raw image.
    """
    axis = find_slice_axis(image.grid, plane)
    start = time.perf_counter()
    drawn = collect_markers(markers, image.grid, axis)
    how, sliced = BoxOptions(interpolation, margin_px, max_gap), move_axis(image.grid, axis)
    boxes = boxes_from_markers(drawn, sliced, how)
    names = {m.label: m.name for m in drawn if m.name is not None}
    follow = follow_released(how.find_margin((sliced.shape[1], sliced.shape[2]))) if interpolation == "legacy" else None
    tracks = [_track(label, own, names.get(label), follow) for label, own in sorted(boxes.items())]
    spent = time.perf_counter() - start
    found = segment(predictor, image, tracks, plane=axis, cache=cache, progress=progress)
    labels = [track.label for track in tracks]
    return AnnotationResult(
        found.mask, dict(zip(labels, found.slice_boxes, strict=True)), dict(zip(labels, found.slice_scores, strict=True)),
        {"boxes": spent, **found.seconds},
    )  # fmt: skip


def _track(label: int, boxes: Mapping[int, Box], name: str | None, follow: Follow | None) -> Track:
    """One object on all its slices, from the largest box outwards where boxes are missing between."""
    given = {k: Prompt(label=label, slice=k, box=box) for k, box in boxes.items()}
    largest = max(boxes, key=lambda k: (boxes[k][2] - boxes[k][0]) * (boxes[k][3] - boxes[k][1]))
    return Track(label, given, largest, (min(boxes), max(boxes)), follow=follow, name=name)


def follow_released(margin_px: float) -> Follow:
    """Fill a slice that the blend of distance maps left empty, as the released code does.

    Its box is the one around the mask of the slice beside it, or, where that is empty, the box there.

    Args:
        margin_px: Added on every side, in pixels of a 1024 frame.
    """

    def next_box(mask_HW: NDArray[np.bool_], frame: Frame, beside: Box) -> Box:
        if not mask_HW.any():
            return beside
        width, height = frame.width, frame.height
        grow_x, grow_y = margin_px * width / 1024, margin_px * height / 1024
        x0, y0, x1, y1 = (float(v) for v in box_from_mask(mask_HW))
        return fit_box((x0 - grow_x, y0 - grow_y, x1 + grow_x, y1 + grow_y), (0.0, 0.0, float(width), float(height)))

    return next_box
