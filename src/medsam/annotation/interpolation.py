"""From rectangles on marked slices to a box on every slice between them (paper, Human annotation study, step 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.annotation.markers import Box, Marker, check_markers
from medsam.errors import PromptError
from medsam.imaging.image import Grid
from medsam.inference.propagate import interpolate_boxes

Method = Literal["linear", "legacy"]
Boxes = dict[int, dict[int, Box]]
RELEASED_MARGIN_PX = 5.0  # released code: once when the rectangle is made, once more when the box is read from it


@dataclass(frozen=True)
class Interpolation:
    """How boxes come from markers.

    Args:
        method: "linear": each side moves in a straight line from one marked slice to the next. "legacy": the released
            code's blend of distance maps, which shrinks boxes in between.
        margin_px: Added to every side, in slice pixels; None is 0 for linear and the released 5 for legacy, which adds
            it twice: to the rectangle and to the box read from it.
        max_gap: Marked slices further apart than this are not bridged; None bridges all.
    """

    method: Method = "linear"
    margin_px: float | None = None
    max_gap: int | None = None

    def __post_init__(self) -> None:
        if self.method not in ("linear", "legacy"):
            raise PromptError(
                f"interpolation is {self.method!r}", expected="linear or legacy", fix="choose one of them"
            )
        if self.margin_px is not None and not (np.isfinite(self.margin_px) and self.margin_px >= 0):
            raise PromptError(f"margin is {self.margin_px} px", expected="0 or more", fix="pass --margin-px 5")
        if self.max_gap is not None and self.max_gap < 1:
            raise PromptError(f"max gap is {self.max_gap} slices", expected="1 or more", fix="pass --max-gap 10")


def boxes_from_markers(markers: Sequence[Marker], grid: Grid, how: Interpolation) -> Boxes:
    """Give every object a box on each of its slices.

    Args:
        markers: Any number per object and slice; those of one object on one slice share a rectangle.
        grid: Of the scan, slices first.
        how: Method, margin, largest gap.

    Returns:
        {label: {slice: (x0, y0, x1, y1)}}, inside the slice, at least one pixel wide and high, both in ascending order.

    Raises:
        PromptError: no markers, some outside the scan, or (legacy) an object on a single slice.
    """
    check_markers(markers, grid)
    rectangles: Boxes = {}
    for label in sorted({m.label for m in markers}):
        own = [m for m in markers if m.label == label]
        rectangles[label] = {
            index: _cover([m.box for m in own if m.slice == index]) for index in sorted({m.slice for m in own})
        }
    between = _linear if how.method == "linear" else _legacy
    return {label: between(label, marked, grid.shape[1:], how) for label, marked in rectangles.items()}


def _cover(boxes: Sequence[Box]) -> Box:
    x0, y0, x1, y1 = np.array(boxes).T
    return float(x0.min()), float(y0.min()), float(x1.max()), float(y1.max())


def _linear(label: int, marked: dict[int, Box], size_hw: tuple[int, int], how: Interpolation) -> dict[int, Box]:
    boxes: dict[int, Box] = {}
    for run in _runs(marked, how.max_gap):
        for index, (box,) in interpolate_boxes({k: [marked[k]] for k in run}).items():
            assert box is not None  # noqa: S101 - one object, from its first to its last marked slice
            boxes[index] = _fitted(box, how.margin_px or 0.0, size_hw)
    return boxes


def _runs(marked: dict[int, Box], max_gap: int | None) -> list[list[int]]:
    """Marked slices in groups that are to be bridged."""
    runs: list[list[int]] = []
    for index in sorted(marked):
        if runs and (max_gap is None or index - runs[-1][-1] <= max_gap):
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _fitted(box: Box, margin_px: float, size_hw: tuple[int, int]) -> Box:
    """A box with its margin, cut to the slice and at least one pixel wide and high."""
    x0, x1 = _side(box[0] - margin_px, box[2] + margin_px, size_hw[1])
    y0, y1 = _side(box[1] - margin_px, box[3] + margin_px, size_hw[0])
    return x0, y0, x1, y1


def _side(low: float, high: float, size: int) -> tuple[float, float]:
    low, high = max(low, 0.0), min(high, float(size))
    if high - low >= 1:
        return low, high
    centre = min(max((low + high) / 2, 0.5), size - 0.5)
    return centre - 0.5, centre + 0.5


def _legacy(label: int, marked: dict[int, Box], size_hw: tuple[int, int], how: Interpolation) -> dict[int, Box]:
    """The released way: rectangles to distance maps, blended, cut where they round to 0, boxes read from the rest."""
    margin = RELEASED_MARGIN_PX if how.margin_px is None else how.margin_px
    runs = _runs(marked, how.max_gap)
    alone = [run[0] for run in runs if len(run) == 1]
    if alone:
        raise PromptError(
            f"object {label} is marked on slice {alone[0]} alone",
            expected="two marked slices, without which the released interpolation drops the object",
            fix="mark a second slice, or use --interpolation linear",
        )
    outside = {index: _distance_map(box, margin, size_hw) for index, box in marked.items()}
    boxes: dict[int, Box] = {}
    for start, stop in (step for run in runs for step in pairwise(run)):
        for index in range(start, stop + 1):
            share = (index - start) / (stop - start)
            inside = np.rint((1 - share) * outside[start] + share * outside[stop]) <= 0
            box = _released_box(inside, margin)
            if box is not None:
                boxes[index] = _fitted(box, 0.0, size_hw)
    return {index: boxes[index] for index in sorted(boxes)}


def _distance_map(box: Box, margin: float, size_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Distance in pixels to the rectangle, painted as the released code does: without its last row and column."""
    x0, y0, x1, y1 = _released_corners(box, margin, size_hw)
    painted = np.zeros(size_hw, dtype=bool)
    painted[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = True
    distances: NDArray[np.float64] = ndimage.distance_transform_edt(~painted)
    return distances


def _released_corners(box: Box, margin: float, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(v) for v in box)
    grow = round(margin)
    return max(0, x0 - grow), max(0, y0 - grow), min(size_hw[1], x1 + grow), min(size_hw[0], y1 + grow)


def _released_box(inside: NDArray[np.bool_], margin: float) -> Box | None:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return None
    tight = (float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1]))
    x0, y0, x1, y1 = _released_corners(tight, margin, (inside.shape[0], inside.shape[1]))
    return float(x0), float(y0), float(x1), float(y1)
