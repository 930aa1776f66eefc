"""The public way to segment a volume: objects drawn slice by slice, given to the engine.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medsam.imaging.boxes import Box
from medsam.imaging.drawn_objects import make_object_prompts
from medsam.imaging.image import Image, Mask, find_slice_axis, move_axis
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.inference.volume.canvas import Overlap
from medsam.inference.volume.segment import segment
from medsam.inference.volume.tracks import Track, make_tracks
from medsam.progress import Progress, show_lines


def segment_volume(
    predictor: Predictor, image: Image, *, boxes: Mapping[int, Sequence[Box | None]] | None = None,
    box3d: Sequence[Sequence[float]] | None = None, points: Mapping[int, Sequence[object]] | None = None,
    labels: Sequence[int] | None = None, interpolate: bool = False, plane: str | int = 0, overlap: Overlap = "later",
    cache: EmbeddingCache | None = None, progress: bool | Progress = False,
) -> Mask:  # fmt: skip
    """Segment a volume from boxes, points or 3D boxes.

    Args:
        image: Normalized (uint8); its values may be memory-mapped.
        boxes: Slice to boxes; box i on each slice is object i and becomes label i + 1. None where it has no box there;
            four numbers are one box.
        box3d: One (x0, y0, z0, x1, y1, z1) for each object, or six numbers for one; z inclusive, in place of boxes and
            points. No voxel of the mask lies outside it.
        points: Slice to (x, y, 1 or 0) of the first object, or to one such list for each object.
        labels: Label ids in place of 1, 2, ...
        interpolate: Also segment the slices between marked ones, with boxes between theirs.
        plane: "axial", "coronal", "sagittal" or an array axis.
        overlap: Where objects meet, the "later" one wins, as in LiteMedSAM, or the more "certain" by its logit.
        cache: Keeps embeddings for the next prompt on the same scan.
        progress: True for lines on standard error, or a function of (slices done, slices in all).

    Raises:
        PromptError: no prompts, or prompts that do not fit the volume. IntensityError: not normalized.
    """
    axis = find_slice_axis(image.grid, plane)
    shape_DHW = move_axis(image.grid, axis).shape
    tracks: list[Track] = []
    for prompts in make_object_prompts(shape_DHW, boxes=boxes, box3d=box3d, points=points, labels=labels):
        tracks += make_tracks(prompts, shape_DHW, interpolate=interpolate)
    report = (show_lines("slices") if progress else None) if isinstance(progress, bool) else progress
    return segment(predictor, image, tracks, plane=axis, overlap=overlap, cache=cache, progress=report).mask
