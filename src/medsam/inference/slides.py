"""Boxes on a whole slide: a window around each at the right level, segmented, and polygons back in slide pixels.

Shape legend: N boxes, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError
from medsam.imaging.boxes import Boxes, box_from_mask, fit_box, validate_boxes
from medsam.imaging.palette import choose_color
from medsam.io.outlines.contours import Polygon, trace
from medsam.io.outlines.geojson import Shape
from medsam.io.pictures.slides import TILE_PX, Slide
from medsam.io.placement import Segment

CONTEXT = 2.0  # side of the window in longest sides of the box
LIMIT = 8.0  # logits beyond it are as sure as any; one window must not outvote another by shouting
MAX_PIXELS = 1 << 31

E = TypeVar("E")


class Logits(Protocol):
    """What one pass of a decoder gives: logits_NHW (n, H, W), above 0 inside; scores_N (n,)."""

    @property
    def logits_NHW(self) -> object: ...  # noqa: D102
    @property
    def scores_N(self) -> NDArray[np.float32]: ...  # noqa: D102


class PartsDecoder(Protocol[E]):
    """What a slide uses of a Predictor, whose logits come in parts."""

    def embed(self, slice_rgb: NDArray[np.uint8]) -> E: ...  # noqa: D102
    def decode_parts(self, embedding: E, *, boxes: object) -> Iterable[Logits]: ...  # noqa: D102


@dataclass(frozen=True)
class _Window:
    """A square of level-0 pixels, shown as size x size pixels."""

    x: float
    y: float
    side: float
    size: int

    @property
    def scale(self) -> float:
        """Level-0 pixels per pixel."""
        return self.side / self.size

    def inside(self, boxes_N4: Boxes) -> Boxes:
        """Boxes of the slide in the window's pixels."""
        return (boxes_N4 - (self.x, self.y, self.x, self.y)) / self.scale

    def polygon(self, polygon: Polygon) -> Polygon:
        """A polygon of the window in slide pixels."""
        rings = [ring * self.scale + (self.x, self.y) for ring in polygon.rings]
        return Polygon(rings[0], tuple(rings[1:]))


def segment_slide(
    predictor: PartsDecoder[E],
    slide: str | Path | Slide,
    boxes: object,
    *,
    names: Sequence[str] | None = None,
    level: int | None = None,
    window_px: int = TILE_PX,
) -> list[Shape]:
    """Segment what boxes on a whole slide enclose.

    Args:
        predictor: A loaded model.
        slide: A slide or its file.
        boxes: (N, 4), x0 y0 x1 y1 in pixels of level 0.
        names: One class name for all boxes, or one each; equal names share a label. Without it box i is label i + 1.
        level: Detail wanted; a box too large for one window is then stitched. Without it every box is seen whole.
        window_px: Side of a window in pixels.

    Returns:
        Polygons in pixels of level 0 with a score, in the order of the boxes; io.geojson.write_shapes saves them.

    Raises:
        PromptError: boxes outside the slide, or a level that is not there.
    """
    with ExitStack() as stack:
        source = slide if isinstance(slide, Slide) else stack.enter_context(Slide(slide))
        base = source.levels[0]
        boxes_N4 = validate_boxes(boxes, base.height, base.width)
        segments = _segments(len(boxes_N4), names)
        if level is not None:
            source.read(0, 0, 1, 1, level=level)
        detail = source.levels[level].downsample if level is not None else None
        found: dict[int, list[Shape]] = {}
        for window, members in _windows(boxes_N4, (base.width, base.height), window_px, detail).items():
            for number, mask_HW, score in _decoded(predictor, source, window, boxes_N4, members):
                found[number] = _shapes(window, mask_HW, segments[number], score)
        for number in range(len(boxes_N4)):
            if number not in found:  # too large for one window at the detail asked for
                assert detail is not None  # noqa: S101 - without it every box has a window
                stitched = _Stitch(predictor, source, boxes_N4[number], detail, window_px)
                found[number] = stitched.shapes(segments[number])
        return [shape for number in range(len(boxes_N4)) for shape in found[number]]


def _segments(count: int, names: Sequence[str] | None) -> list[Segment]:
    if names is None:
        return [Segment(i, f"Segment {i}", choose_color(i)) for i in range(1, count + 1)]
    each = list(names) * count if len(names) == 1 else list(names)
    if len(each) != count:
        raise PromptError(
            f"{len(each)} names for {count} boxes", expected="one name, or one each", fix="give as many names as boxes"
        )
    labels = {name: label for label, name in enumerate(dict.fromkeys(each), start=1)}
    return [Segment(labels[name], name, choose_color(labels[name])) for name in each]


def _windows(
    boxes_N4: Boxes, slide_wh: tuple[int, int], window_px: int, detail: float | None
) -> dict[_Window, list[int]]:
    """The windows to look through and the boxes in each; small boxes near each other share one."""
    windows: dict[_Window, list[int]] = {}
    for number, (x0, y0, x1, y1) in enumerate(boxes_N4.tolist()):
        needed = max(x1 - x0, y1 - y0) * CONTEXT
        scale = max(needed / window_px, 1.0) if detail is None else detail
        side = window_px * scale
        if needed > side * (1 + 1e-9):
            continue
        alone = detail is None and scale > 1
        corner = []
        for centre, length in zip(((x0 + x1) / 2, (y0 + y1) / 2), slide_wh, strict=True):
            # Shared windows lie half a side apart, so that the nearest one holds the box with its context.
            start = centre - side / 2 if alone else round(2 * centre / side - 1) * side / 2
            last = length - side if alone else (np.ceil(2 * length / side) - 2) * side / 2
            corner.append(float(round(min(max(start, 0.0), max(last, 0.0)))))
        windows.setdefault(_Window(corner[0], corner[1], side, window_px), []).append(number)
    return windows


def _decoded(
    predictor: PartsDecoder[E], slide: Slide, window: _Window, boxes_N4: Boxes, members: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.bool_], float]]:
    embedding = predictor.embed(slide.read_scaled(window.x, window.y, window.side, window.size))
    on_slide = _on_slide(slide, window)
    done = 0
    whole = (0.0, 0.0, float(window.size), float(window.size))
    inside = [fit_box((x0, y0, x1, y1), whole) for x0, y0, x1, y1 in window.inside(boxes_N4[list(members)]).tolist()]
    for part in predictor.decode_parts(embedding, boxes=inside):
        logits_NHW = _array(part.logits_NHW)
        for logits_HW, score in zip(logits_NHW, part.scores_N, strict=True):
            yield members[done], (logits_HW > 0) & on_slide, float(score)
            done += 1


def _array(values: object) -> NDArray[np.float32]:
    """A NumPy array of a tensor, wherever that lies."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.float32)


def _on_slide(slide: Slide, window: _Window) -> NDArray[np.bool_]:
    """Which pixels of a window lie on the slide."""
    base = slide.levels[0]
    centres = (np.arange(window.size) + 0.5) * window.scale
    rows, columns = window.y + centres, window.x + centres
    return ((rows > 0) & (rows < base.height))[:, None] & ((columns > 0) & (columns < base.width))


def _shapes(window: _Window, mask_HW: NDArray[np.bool_], segment: Segment, score: float) -> list[Shape]:
    return [Shape(window.polygon(polygon), segment, score=score) for polygon in trace(mask_HW)]


class _Stitch:
    """One box in many overlapping windows: a coarse mask of the whole says what to look for in each of them.

    Logits are blended with weights that fall to nothing at a window's edge, so no edge shows. Rows of windows are
    finished one after another, and only two of them are in memory.
    """

    def __init__(
        self, predictor: PartsDecoder[E], slide: Slide, box: NDArray[np.float64], detail: float, size: int
    ) -> None:
        self._predictor, self._slide = predictor, slide
        self._detail, self._size, self._stride = detail, size, size // 2
        side = float(max(box[2] - box[0], box[3] - box[1])) * CONTEXT
        self._coarse = _Window((box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2, side, size)
        ((_, self._whole, self._score),) = _decoded(predictor, slide, self._coarse, box[None], [0])
        ramp = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32) ** 2
        self._weights = np.maximum(ramp[:, None] * ramp, 1e-6)

    def shapes(self, segment: Segment) -> list[Shape]:
        """The outlines at the detail asked for."""
        if not self._whole.any():
            return []
        x0, y0, x1, y1 = box_from_mask(self._whole) * self._coarse.scale + np.tile((self._coarse.x, self._coarse.y), 2)
        margin = self._stride * self._detail / 2
        origin = (x0 - margin, y0 - margin)
        columns, rows = (
            max(int(np.ceil((high - low + 2 * margin) / self._detail / self._stride)) - 1, 1)
            for low, high in ((x0, x1), (y0, y1))
        )
        shape = ((rows + 1) * self._stride, (columns + 1) * self._stride)
        if shape[0] * shape[1] > MAX_PIXELS:
            raise PromptError(
                f"the box has {shape[1]} x {shape[0]} pixels at this level",
                expected=f"at most {MAX_PIXELS}",
                fix="choose a coarser level",
            )
        mask = np.zeros(shape, dtype=bool)
        height = self._stride
        sums = np.zeros((2 * height, shape[1]), dtype=np.float32)
        for row in range(rows):
            for column in range(columns):
                at = (origin[0] + column * height * self._detail, origin[1] + row * height * self._detail)
                part = slice(column * height, column * height + self._size)
                sums[:, part] += self._weights * self._logits(at)
            mask[row * height : (row + 1) * height] = sums[:height] > 0
            sums = np.concatenate([sums[height:], np.zeros_like(sums[:height])])
        mask[rows * height :] = sums[:height] > 0
        whole = _Window(*origin, shape[1] * self._detail, shape[1])
        return _shapes(whole, mask, segment, self._score)

    def _logits(self, at: tuple[float, float]) -> NDArray[np.float32]:
        """Logits of one window; without the model where the coarse mask leaves nothing to decide."""
        window = _Window(*at, self._size * self._detail, self._size)
        centres = (np.arange(self._size) + 0.5) * window.scale
        rows = np.floor((at[1] + centres - self._coarse.y) / self._coarse.scale).astype(int)
        columns = np.floor((at[0] + centres - self._coarse.x) / self._coarse.scale).astype(int)
        inside = [(index >= 0) & (index < self._coarse.size) for index in (rows, columns)]
        known = self._whole[np.clip(rows, 0, self._coarse.size - 1)][:, np.clip(columns, 0, self._coarse.size - 1)]
        known = known & inside[0][:, None] & inside[1]
        if not known.any() or known.all():
            return np.full(known.shape, LIMIT if known.any() else -LIMIT, dtype=np.float32)
        embedding = self._predictor.embed(self._slide.read_scaled(*at, window.side, window.size))
        (part,) = self._predictor.decode_parts(embedding, boxes=box_from_mask(known)[None])
        logits = np.clip(_array(part.logits_NHW)[0], -LIMIT, LIMIT)
        return np.where(_on_slide(self._slide, window), logits, -LIMIT).astype(np.float32)
