"""From sparse markers to a 3D mask (paper, Human annotation study, steps 1 to 3).

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medsam.annotation.interpolation import RELEASED_MARGIN_PX, Boxes, Interpolation, Method, boxes_from_markers
from medsam.annotation.markers import Box, Marker, markers_from_mask
from medsam.errors import PromptError
from medsam.imaging.boxes import box_from_mask
from medsam.imaging.image import Image, Mask, moved_axis
from medsam.inference.cache import EmbeddingCache
from medsam.inference.embedding import Embedding
from medsam.inference.painting import Canvas, ObjectPrompt, Progress, decoded, embedded
from medsam.inference.predictor import Predictor
from medsam.io.placement import on_grid


@dataclass(frozen=True, eq=False)
class AnnotationResult:
    """A mask made from markers, with what made it.

    Args:
        mask: On the image's grid; labels are those of the markers. Where objects meet, the higher label stays.
        boxes: {label: {slice: (x0, y0, x1, y1)}} as given to the model, in slice pixels of the plane marked.
        scores: {label: {slice: score}}, one for each box; low ones are worth a look.
        seconds: Wall clock of "boxes", "encode" and "decode".
    """

    mask: Mask
    boxes: Mapping[int, Mapping[int, Box]]
    scores: Mapping[int, Mapping[int, float]]
    seconds: Mapping[str, float]


# The rectangle over two lines undershoots an object whose axes lie obliquely, and the model rarely leaves its box. Half the
# margin of the released scripts gained 5 to 25 points of Dice on six CT lesions (docs/annotation.md).
MARGIN_PX = 5.0


def annotate(
    predictor: Predictor, image: Image, markers: Mask | np.ndarray | Sequence[Marker], *, interpolation: Method = "linear",
    margin_px: float | None = None, max_gap: int | None = None, plane: str | int = 0,
    cache: EmbeddingCache | None = None, progress: Progress | None = None,
) -> AnnotationResult:  # fmt: skip
    """Turn axis lines drawn on some slices into a mask on all slices between them.

    Args:
        predictor: A loaded model.
        image: Normalized (uint8).
        markers: A label volume of the image's voxels in any order (a Mask), an array on its grid, or markers in slices
            of the plane.
        interpolation: "linear", or "legacy" for the released distance maps.
        margin_px: Added to every side of a box; 5 (MARGIN_PX) without it, twice for legacy; 0 is the bare rectangle.
        max_gap: Marked slices further apart than this are not bridged.
        plane: The slices marked: "axial", "coronal", "sagittal" or an array axis.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all).

    Raises:
        PromptError, GeometryError, IntensityError: markers outside the scan or on another grid, a raw image.
    """
    axis = slice_axis(image, plane)
    sliced = image.moved_axis(axis)
    sliced.slice_rgb(0)  # raises where the values are not uint8 yet
    start = time.perf_counter()
    drawn = _drawn(markers, image, axis)
    margin_px = MARGIN_PX if margin_px is None and interpolation == "linear" else margin_px
    boxes = boxes_from_markers(drawn, sliced.grid, Interpolation(interpolation, margin_px, max_gap))
    seconds = {"boxes": time.perf_counter() - start, "encode": 0.0, "decode": 0.0}
    labels = np.zeros(image.grid.shape, dtype=np.uint8 if max(boxes) < 256 else np.uint16)
    canvas = Canvas(np.moveaxis(labels, axis, 0))
    painter = _Painter(predictor, sliced, canvas, seconds, cache)
    painter.paint(boxes, progress)
    if interpolation == "legacy":
        margin = RELEASED_MARGIN_PX if margin_px is None else margin_px
        for label in boxes:
            painter.bridge(label, boxes[label], margin)
    names = {m.label: m.name for m in drawn if m.name is not None}
    scores = {label: {k: canvas.scores[k, label] for k in sorted(boxes[label])} for label in boxes}
    ordered = {label: {k: boxes[label][k] for k in sorted(boxes[label])} for label in boxes}
    return AnnotationResult(Mask(labels, image.grid, names), ordered, scores, seconds)


def _drawn(markers: Mask | np.ndarray | Sequence[Marker], image: Image, axis: int) -> list[Marker]:
    if isinstance(markers, np.ndarray):
        markers = Mask(markers, image.grid)
    if isinstance(markers, Mask):
        return markers_from_mask(on_grid(markers, image.grid).moved_axis(axis), moved_axis(image.grid, axis))
    if not isinstance(markers, Sequence) or not all(isinstance(marker, Marker) for marker in markers):
        raise PromptError(
            f"markers are {type(markers).__name__}",
            expected="a Mask of painted lines, or a list of Marker",
            fix="pass medsam.read_mask(path)",
        )
    return list(markers)


def slice_axis(image: Image, plane: str | int) -> int:
    """The array axis of the slices meant: by name, or 0, 1 or 2.

    Raises:
        GeometryError: an unknown name. PromptError: no such axis.
    """
    if isinstance(plane, str):
        return image.grid.axis_named(plane)
    if plane not in (0, 1, 2):
        raise PromptError(f"plane is {plane}", expected="axial, coronal, sagittal, or an axis 0 to 2", fix="choose one")
    return plane


@dataclass(eq=False)
class _Painter:
    """One run: what stays the same while objects are painted, and the seconds it takes."""

    predictor: Predictor
    image: Image
    canvas: Canvas
    seconds: dict[str, float]
    cache: EmbeddingCache | None

    def paint(self, boxes: Boxes, progress: Progress | None) -> None:
        """Paint every box, each slice encoded once for all objects."""
        indices = sorted({k for own in boxes.values() for k in own})
        for done, (index, embedding) in enumerate(self._embedded(indices), start=1):
            here = [ObjectPrompt(label, own[index]) for label, own in boxes.items() if index in own]
            self._decode(index, embedding, here)
            if progress is not None:
                progress(done, len(indices))

    def bridge(self, label: int, boxes: dict[int, Box], margin: float) -> None:
        """Fill slices that the blend of distance maps left empty, as the released code does.

        From the slice with the largest box outwards, a slice without a box takes the one around its neighbour's mask,
        or, where that is empty, the nearest box there is.
        """
        middle = max(boxes, key=lambda k: (boxes[k][2] - boxes[k][0]) * (boxes[k][3] - boxes[k][1]))
        first, last = min(boxes), max(boxes)
        for path, back in ((range(middle + 1, last + 1), -1), (range(middle - 1, first - 1, -1), 1)):
            for index in path:
                if index not in boxes:
                    boxes[index] = self._box_beside(label, boxes, index, index + back, margin)
                    for _, embedding in self._embedded([index]):
                        self._decode(index, embedding, [ObjectPrompt(label, boxes[index])])

    def _box_beside(self, label: int, boxes: dict[int, Box], index: int, beside: int, margin: float) -> Box:
        mask_HW = self.canvas.numbers_DHW[beside] == label
        if not mask_HW.any():
            return boxes[min(boxes, key=lambda k: abs(k - index))]
        height, width = mask_HW.shape
        grow = margin * np.array([width, height]) / 1024  # the released margin is in pixels of the 1024 frame here
        x0, y0, x1, y1 = (float(v) for v in box_from_mask(mask_HW))
        right, bottom = min(float(width), x1 + grow[0]), min(float(height), y1 + grow[1])
        return max(0.0, x0 - grow[0]), max(0.0, y0 - grow[1]), right, bottom

    def _embedded(self, indices: Sequence[int]) -> Iterator[tuple[int, Embedding]]:
        start = time.perf_counter()
        for index, embedding in embedded(self.predictor, self.image, indices, self.cache):
            self.seconds["encode"] += time.perf_counter() - start
            yield index, embedding
            start = time.perf_counter()

    def _decode(self, index: int, embedding: Embedding, prompts: Sequence[ObjectPrompt]) -> None:
        start = time.perf_counter()
        for prompt, logits_HW, score in decoded(self.predictor, embedding, prompts):
            self.canvas.paint(index, prompt.number, logits_HW, score)
        self.canvas.finish(index)
        self.seconds["decode"] += time.perf_counter() - start
