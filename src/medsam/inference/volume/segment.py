"""Prompts to one mask: the engine that every verb and the public functions call.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from medsam.errors import GeometryError, PromptError
from medsam.imaging.boxes import Box
from medsam.imaging.image import Image, Mask, find_slice_axis
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.inference.prompts import refuse_clicks
from medsam.inference.volume.canvas import Canvas, Overlap
from medsam.inference.volume.sweep import Sweep
from medsam.inference.volume.tracks import Track, make_tracks
from medsam.progress import Progress


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask and how it came about.

    Args:
        mask: Labels on the image's grid, with the names, colours and codes of the prompts.
        scores: One per prompt, in order; of a prompt that reaches over several slices the mean over them.
        slice_scores: Per prompt, slice to score; the slices are those of the plane.
        slice_boxes: Per prompt, slice to the box that the model got, where it got one.
        seconds: "encode" and "decode", wall clock.
        overlap: The rule that decided where objects overlap.
    """

    mask: Mask
    scores: tuple[float, ...]
    slice_scores: tuple[Mapping[int, float], ...]
    slice_boxes: tuple[Mapping[int, Box], ...]
    seconds: Mapping[str, float]
    overlap: Overlap


def segment(
    predictor: Predictor, image: Image, prompts: Sequence[Prompt | Track], *, plane: str | int = 0,
    overlap: Overlap = "later", interpolate: bool = False, previous: Mask | None = None,
    cache: EmbeddingCache | None = None, progress: Progress | None = None,
) -> Segmentation:  # fmt: skip
    """Segment an image from prompts; every slice is encoded once for all of them.

    Args:
        predictor: A loaded model.
        image: Normalized (uint8); its values may be memory-mapped.
        prompts: At least one; a prompt without a slice belongs to the only slice. A Track is a prompt that was laid
            over several slices already.
        plane: The slices that the prompts mean: "axial", "coronal", "sagittal" or an array axis.
        overlap: Where objects meet, the "later" of the prompts wins, or the more "certain" by its logit.
        interpolate: Boxes of one label also reach over the slices between them.
        previous: A mask on the image's grid to correct. Labels that a prompt names are made anew on the slices of the
            prompt, and clicks start from what the mask has there; all other voxels stay as they are.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all).

    Raises:
        PromptError: no prompts, prompts that do not fit the image, or clicks that the model does not answer.
        IntensityError: the image is not normalized.
        GeometryError: the previous mask lies on another grid.
    """
    if overlap not in get_args(Overlap):
        raise PromptError(f"overlap is {overlap!r:.60}", expected="later or certain", fix="choose one of them")
    if not prompts:
        raise PromptError("no prompts", expected="at least one box or point", fix="pass --box, --point or --prompts")
    axis = find_slice_axis(image.grid, plane)
    sliced = image.move_axis(axis)
    tracks = _tracks(prompts, sliced.grid.shape, interpolate=interpolate)
    sliced.slice_rgb(0)  # raises IntensityError where the values are not uint8 yet
    before = None if previous is None else _moved_previous(previous, image, axis)
    for track in tracks:
        _refuse_clicks(predictor, track, before)
    labels = _fresh_labels(image, tracks, previous)
    redrawn: dict[int, set[int]] = {}
    for track in tracks if previous is not None else ():
        for k in (*track.upwards, *track.downwards):
            redrawn.setdefault(k, set()).add(track.label)
    canvas = Canvas(np.moveaxis(labels, axis, 0), overlap, redrawn)
    sweep = Sweep(predictor, sliced, tracks, canvas, before, cache, progress)
    traces = sweep.run()
    return Segmentation(
        _described(Mask(labels, image.grid), tracks, previous),
        scores=tuple(float(np.mean(list(trace.scores.values()))) for trace in traces),
        slice_scores=tuple(dict(sorted(trace.scores.items())) for trace in traces),
        slice_boxes=tuple(dict(sorted(trace.boxes.items())) for trace in traces),
        seconds=sweep.seconds, overlap=overlap,
    )  # fmt: skip


def _tracks(prompts: Sequence[Prompt | Track], shape_DHW: tuple[int, int, int], *, interpolate: bool) -> list[Track]:
    made = iter(make_tracks([p for p in prompts if isinstance(p, Prompt)], shape_DHW, interpolate=interpolate))
    return [next(made) if isinstance(p, Prompt) else p for p in prompts]


def _moved_previous(previous: Mask, image: Image, axis: int) -> Mask:
    if not previous.grid.same_as(image.grid):
        raise GeometryError(
            f"a previous mask of shape {previous.grid.shape} on another grid than the image",
            expected=f"the image's own grid {image.grid.shape}",
            fix="read it with reference=image, or make it on this image",
        )
    return previous.move_axis(axis)


def _refuse_clicks(predictor: Predictor, track: Track, before: Mask | None) -> None:
    for k, prompt in track.given.items():
        corrects = before is not None and bool((before.labels[k] == track.label).any())
        if prompt.points and prompt.box is None and not corrects:
            refuse_clicks(predictor.manifest)


def _described(mask: Mask, tracks: Sequence[Track], previous: Mask | None) -> Mask:
    """The mask with the names, colours and codes of the tracks, over those of the previous mask."""
    before = mask if previous is None else previous
    return replace(
        mask,
        names={**before.names, **{t.label: t.name for t in tracks if t.name}},
        colors={**before.colors, **{t.label: t.color for t in tracks if t.color}},
        codes={**before.codes, **{t.label: t.code for t in tracks if t.code}},
    )


def _fresh_labels(image: Image, tracks: Sequence[Track], previous: Mask | None) -> np.ndarray:
    """Where to paint: zeros, or a copy of the previous mask, wide enough for every label."""
    largest = max(track.label for track in tracks)
    if previous is None:
        return np.zeros(image.grid.shape, dtype=np.min_scalar_type(largest))
    largest = max(largest, int(previous.labels.max(initial=0)))
    return previous.labels.astype(np.min_scalar_type(largest), order="C")
