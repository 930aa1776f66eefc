"""Boxes where nobody drew one: between marked slices, and from slice to slice through a 3D box.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError
from medsam.imaging.boxes import box_from_mask, clip_boxes, validate_boxes
from medsam.imaging.frame import Frame
from medsam.imaging.image import Image
from medsam.inference.cache import EmbeddingCache
from medsam.inference.embedding import Embedding
from medsam.inference.painting import Box, Canvas, ObjectPrompt, Progress, decoded, embedded
from medsam.inference.predictor import Predictor

KEPT_SLICES = 64  # embeddings held in memory between the two sweeps, 4 MiB each; beyond that they go to a folder
MARGIN_PX = 3  # at a frame of 256, as LiteMedSAM widens the box of the mask before


def interpolate_boxes(boxes: Mapping[int, Sequence[Box | None]]) -> dict[int, list[Box | None]]:
    """Fill the slices between marked ones: the corners of each object's box move linearly.

    Args:
        boxes: Slice to boxes; position i is object i, None where it has no box. Slices outside an object's first and
            last marked one stay without a box of it.

    Source: paper, Methods, "Human annotation study"; compatibility notes 5.5 no. 14.
    """
    count = max((len(row) for row in boxes.values()), default=0)
    filled: dict[int, list[Box | None]] = {}
    for i in range(count):
        marked = {k: box for k in sorted(boxes) if i < len(boxes[k]) and (box := boxes[k][i]) is not None}
        for k, box in _between(marked):
            filled.setdefault(k, [None] * count)[i] = box
    return dict(sorted(filled.items()))


def _between(marked: Mapping[int, Box]) -> Iterator[tuple[int, Box]]:
    slices = list(marked)
    for k in range(slices[0], slices[-1] + 1) if slices else ():
        corners = (np.interp(k, slices, [marked[s][c] for s in slices]) for c in range(4))
        x0, y0, x1, y1 = (float(c) for c in corners)
        yield k, (x0, y0, x1, y1)


@dataclass(frozen=True)
class Box3D:
    """A box through slices z0 to z1, both inclusive; x and y as in every box."""

    box: Box
    z0: int
    z1: int

    @property
    def middle(self) -> int:
        """The slice the user's box is used on first."""
        return self.z0 + (self.z1 - self.z0) // 2

    def sweep(self, *, forward: bool) -> range:
        """The slices of one direction, in order: middle to last, or from before the middle to the first."""
        return range(self.middle, self.z1 + 1) if forward else range(self.middle - 1, self.z0 - 1, -1)


def parse_box3d(numbers: Sequence[float], shape_DHW: tuple[int, int, int]) -> Box3D:
    """Check x0, y0, z0, x1, y1, z1 against a volume.

    Raises:
        PromptError: not six numbers, slices that are not there or not whole, or a box that leaves the slice.
    """
    values = [float(v) for v in np.asarray(numbers, dtype=np.float64).reshape(-1)]
    depth, height, width = shape_DHW
    text = ",".join(f"{v:g}" for v in values)
    if len(values) != 6:
        raise PromptError(f"3D box is {text}", expected="x0,y0,z0,x1,y1,z1", fix="give six numbers")
    x0, y0, z0, x1, y1, z1 = values
    if not (0 <= z0 <= z1 <= depth - 1 and z0 == int(z0) and z1 == int(z1)):
        raise PromptError(
            f"3D box {text} runs from slice {z0:g} to {z1:g}",
            expected=f"whole slices from 0 to {depth - 1}, the first one first",
            fix="correct z0 and z1",
        )
    validate_boxes((x0, y0, x1, y1), height, width)
    return Box3D((x0, y0, x1, y1), int(z0), int(z1))


def next_box(mask_HW: NDArray[np.bool_], frame: Frame, fallback: Box) -> Box:
    """The box for the neighbour of a segmented slice: around its mask, a little wider; the given box where it is empty.

    Source: the published LiteMedSAM inference, compatibility notes 5.4.
    """
    if not mask_HW.any():
        return fallback
    scale_x, scale_y = frame.scale_xy
    margin = MARGIN_PX * frame.size / 256 / np.array([scale_x, scale_y, scale_x, scale_y])
    wider = box_from_mask(mask_HW) + margin * (-1, -1, 1, 1)
    x0, y0, x1, y1 = (float(v) for v in clip_boxes(wider[None], frame.height, frame.width)[0])
    return x0, y0, x1, y1


def sweep_boxes(
    predictor: Predictor, image: Image, solids: Sequence[Box3D], canvas: Canvas, *,
    cache: EmbeddingCache | None = None, progress: Progress | None = None,
) -> None:  # fmt: skip
    """Paint 3D boxes: the middle slice from the box itself, then outwards, each slice from the mask beside it.

    All objects share the two sweeps over the volume, upwards and downwards, so that a slice is encoded once.

    Args:
        predictor: A loaded model.
        image: Normalized, with the slices first.
        solids: Object 1, 2, ...
        canvas: Painted in place.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all).
    """
    up = sorted({z for solid in solids for z in solid.sweep(forward=True)})
    down = sorted({z for solid in solids for z in solid.sweep(forward=False)}, reverse=True)
    total, done = len(up) + len(down), 0
    shared = set(up) & set(down)
    above, below = ([solid.box for solid in solids] for _ in range(2))  # the boxes for the next slice of each sweep
    with ExitStack() as stack:
        if cache is None and len(shared) > KEPT_SLICES:
            cache = EmbeddingCache(stack.enter_context(tempfile.TemporaryDirectory()), max_bytes=2**62)
        kept: dict[int, Embedding] = {}
        for k, embedding in embedded(predictor, image, up, cache):
            active = [i for i, solid in enumerate(solids) if k in solid.sweep(forward=True)]
            for i, mask_HW in _paint(predictor, embedding, {i: above[i] for i in active}, canvas, k):
                above[i] = next_box(mask_HW, embedding.frame, solids[i].box)
                below[i] = above[i] if k == solids[i].middle else below[i]
            if k in shared and cache is None:
                kept[k] = embedding
            done = _report(progress, done, total)
        fresh = embedded(predictor, image, [k for k in down if k not in kept], cache)
        for k in down:
            embedding = kept.pop(k) if k in kept else next(fresh)[1]
            active = [i for i, solid in enumerate(solids) if k in solid.sweep(forward=False)]
            for i, mask_HW in _paint(predictor, embedding, {i: below[i] for i in active}, canvas, k):
                below[i] = next_box(mask_HW, embedding.frame, solids[i].box)
            done = _report(progress, done, total)


def _paint(
    predictor: Predictor, embedding: Embedding, boxes: Mapping[int, Box], canvas: Canvas, k: int
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    prompts = [ObjectPrompt(i + 1, box) for i, box in boxes.items()]
    for prompt, logits_HW, score in decoded(predictor, embedding, prompts):
        canvas.paint(k, prompt.number, logits_HW, score)
        yield prompt.number - 1, logits_HW > 0


def _report(progress: Progress | None, done: int, total: int) -> int:
    if progress is not None:
        progress(done + 1, total)
    return done + 1
