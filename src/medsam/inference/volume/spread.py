"""Prompts on a few slices to a whole object: it is followed outwards until it ends.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medsam.imaging.boxes import Box, fit_box
from medsam.imaging.frame import Frame
from medsam.imaging.image import Image, Mask, find_slice_axis
from medsam.imaging.prompts import Prompt, place
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.inference.volume.segment import Segmentation, segment
from medsam.inference.volume.tracks import Track, make_tracks, widen_box
from medsam.progress import Progress

LEAST_OVERLAP = 0.5  # intersection over union of the masks of two slices that are still one object


def spread(
    predictor: Predictor, image: Image, prompts: Sequence[Prompt], *, plane: str | int = 0,
    previous: Mask | None = None, cache: EmbeddingCache | None = None, progress: Progress | None = None,
) -> Segmentation:  # fmt: skip
    """Segment whole objects from prompts on some of their slices.

    From a prompted slice the object is followed up and down, each slice with the box of the mask beside it, until its
    mask is empty or overlaps the one beside by less than LEAST_OVERLAP. Between two prompted slices the nearer one
    decides. Where the previous mask has the object already, a prompt corrects its own slice alone. A 3D box reaches
    over its own slices.

    Args:
        predictor: A loaded model.
        image: Normalized (uint8).
        prompts: At least one; those of one label on one slice count as one.
        plane: The slices that the prompts mean.
        previous: A mask on the image's grid to correct or to go on from.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all).

    Raises:
        PromptError: as segment.
    """
    axis = find_slice_axis(image.grid, plane)
    shape_DHW = image.move_axis(axis).grid.shape
    placed = [place(prompt, shape_DHW) for prompt in prompts]
    solid = make_tracks([p for p in placed if p.box_3d is not None], shape_DHW)
    drawn: dict[int, dict[int, Prompt]] = {}
    for prompt in merge_prompts(placed):
        if prompt.box_3d is None and prompt.slice is not None:
            drawn.setdefault(prompt.label, {})[prompt.slice] = prompt
    tracks = [*solid, *_outward(drawn, shape_DHW, _occupied(previous, axis))]
    return segment(
        predictor, image, tracks, plane=axis, previous=previous, cache=cache, progress=progress
    )  # fmt: skip


def merge_prompts(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Make one prompt of those of one label on one slice: the last of several boxes counts, and all points."""
    merged: dict[tuple[int, int | None, int], Prompt] = {}
    for n, prompt in enumerate(prompts):
        key = (prompt.label, prompt.slice, n if prompt.box_3d else -1)
        old = merged.get(key, prompt)
        merged[key] = prompt if old is prompt else replace(
            prompt, box=prompt.box or old.box, points=old.points + prompt.points,
            point_labels=old.point_labels + prompt.point_labels,
        )  # fmt: skip
    return list(merged.values())


def _occupied(previous: Mask | None, axis: int) -> dict[int, frozenset[int]]:
    """Label to the slices that the previous mask has it on."""
    if previous is None:
        return {}
    labels = np.moveaxis(previous.labels, axis, 0)
    return {int(n): frozenset(np.flatnonzero((labels == n).any(axis=(1, 2))).tolist()) for n in np.unique(labels) if n}


def _outward(
    drawn: dict[int, dict[int, Prompt]], shape_DHW: tuple[int, int, int], occupied: dict[int, frozenset[int]]
) -> Iterator[Track]:
    for label, own in drawn.items():
        there = occupied.get(label, frozenset())
        for k, prompt in sorted(own.items()):
            reach = (k, k) if k in there else _reach(k, own, there, shape_DHW[0])
            follow = None if reach == (k, k) else _Following(shape_DHW[1:])
            yield Track(
                label, {k: prompt}, k, reach, follow=follow, name=prompt.name, color=prompt.color, code=prompt.code
            )


def _reach(k: int, prompted: Collection[int], occupied: Collection[int], depth: int) -> tuple[int, int]:
    """First and last slice that the prompt on slice k may fill: half-way to the next prompt, up to what is there."""
    below = max((j for j in prompted if j < k), default=None)
    above = min((j for j in prompted if j > k), default=None)
    first = max([0 if below is None else (below + k) // 2 + 1, *(j + 1 for j in occupied if j < k)])
    last = min([depth - 1 if above is None else (k + above) // 2, *(j - 1 for j in occupied if j > k)])
    return first, last


class _Following:
    """The way of one prompt from slice to slice, until the masks no longer overlap."""

    def __init__(self, shape_HW: tuple[int, ...]) -> None:
        self._slice = (0.0, 0.0, float(shape_HW[1]), float(shape_HW[0]))
        self._masks: dict[Box, NDArray[np.bool_]] = {}  # box given to a slice -> the mask it was made from

    def __call__(self, mask_HW: NDArray[np.bool_], frame: Frame, box: Box) -> Box | None:
        beside_HW = self._masks.get(box)
        if not mask_HW.any() or (beside_HW is not None and _overlap(mask_HW, beside_HW) < LEAST_OVERLAP):
            return None
        following = fit_box(widen_box(mask_HW, frame), self._slice)
        start = next(iter(self._masks.items()), None)  # the first is needed again on the way down
        self._masks = dict([start] if start else []) | {following: mask_HW}
        return following


def _overlap(first_HW: NDArray[np.bool_], second_HW: NDArray[np.bool_]) -> float:
    return float((first_HW & second_HW).sum() / (first_HW | second_HW).sum())
