"""The one box convention: x0 y0 x1 y1 in slice pixels, x right, y down, pixel centres at integers.

A box made from a mask runs from the centre of the first to the centre of the last foreground pixel, as the released
code does; one pixel wide targets get a box one pixel wide so that no box is empty. A drawn box may reach the outer
edge of the slice: x in [0, W], y in [0, H]. Its corners may come in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError

Box = tuple[float, float, float, float]
Boxes = NDArray[np.float64]
Noise = Literal["enlarge", "both", "shift", "all"]
OUTWARD: Boxes = np.array([-1.0, -1.0, 1.0, 1.0])
LEAST_PX = 1 - 1e-6  # a side of a box, but for rounding


def to_numpy(value: object) -> object:
    """Arrays of any library (torch) as NumPy's; lists, tuples and the rest as they are."""
    return np.asarray(value) if hasattr(value, "__array__") else value


def sort_corners(box: Sequence[float]) -> tuple[float, ...]:
    """Order the two corners of a box (x0 y0 x1 y1, or x0 y0 z0 x1 y1 z1): the lower of each axis first."""
    half = len(box) // 2
    pairs = list(zip(box[:half], box[half:], strict=True))
    return (*(min(pair) for pair in pairs), *(max(pair) for pair in pairs))


def validate_boxes(boxes: object, height: int, width: int) -> Boxes:
    """Check boxes against a slice and give them as (N, 4) float64, the lower corner first.

    Args:
        boxes: (4,) or (N, 4) numbers, x0 y0 x1 y1 in slice pixels, the corners in any order.
        height: H of the slice in pixels.
        width: W of the slice in pixels.

    Raises:
        PromptError: not numbers, none at all, under one pixel wide or high, or outside the slice; the message shows
            the box.
    """
    try:
        boxes_N4 = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise PromptError(
            f"boxes are {boxes!r:.80}", expected="numbers x0,y0,x1,y1", fix="give four numbers per box"
        ) from None
    boxes_N4 = boxes_N4[None] if boxes_N4.ndim == 1 else boxes_N4
    if boxes_N4.ndim != 2 or boxes_N4.shape[1] != 4 or not len(boxes_N4):
        raise PromptError(
            f"boxes have shape {boxes_N4.shape}", expected="(N, 4), at least one", fix="give x0,y0,x1,y1 per box"
        )
    boxes_N4 = np.concatenate(
        [np.minimum(boxes_N4[:, :2], boxes_N4[:, 2:]), np.maximum(boxes_N4[:, :2], boxes_N4[:, 2:])], axis=1
    )
    for box in boxes_N4:
        _refuse_bad_box(box, height, width)
    return boxes_N4


def _refuse_bad_box(box: Boxes, height: int, width: int) -> None:
    text = ",".join(f"{v:g}" for v in box)
    x0, y0, x1, y1 = box
    if not np.isfinite(box).all():
        raise PromptError(f"box is {text}", expected="four finite numbers", fix="give x0,y0,x1,y1 in pixels")
    if min(x1 - x0, y1 - y0) < LEAST_PX:
        kind = "empty" if x1 == x0 or y1 == y0 else "under one pixel wide or high"
        shares = box.min() >= 0 and box.max() <= 1
        raise PromptError(
            f"box {text} is {kind}",
            expected="at least one pixel from x0 to x1 and from y0 to y1",
            fix=f"these look like normalized coordinates: multiply x by the width {width} and y by the height {height}"
            if shares
            else "give two opposite corners in pixels",
        )
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise PromptError(
            f"box {text} leaves the image of {width} x {height} pixels (width x height)",
            expected=f"0 <= x <= {width} and 0 <= y <= {height}",
            fix="clip the box to the image",
        )


def validate_points(points: object, height: int, width: int) -> NDArray[np.float64]:
    """Check points against a slice and give them as (P, 2) float64, x y in slice pixels.

    Raises:
        PromptError: not numbers, none, or outside the slice.
    """
    try:
        points_P2 = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise PromptError(
            f"points are {points!r:.80}", expected="pairs x,y", fix="give two numbers per point"
        ) from None
    if not len(points_P2):
        raise PromptError("no points", expected="at least one x,y", fix="give a point")
    bad = ~((points_P2 >= 0) & (points_P2 <= (width, height))).all(axis=1)
    if bad.any():
        x, y = points_P2[bad][0]
        raise PromptError(
            f"point {x:g},{y:g} leaves the image of {width} x {height} pixels (width x height)",
            expected=f"0 <= x <= {width} and 0 <= y <= {height}",
            fix="choose a point inside the image",
        )
    return points_P2


def box_from_mask(mask_HW: np.ndarray) -> NDArray[np.float64]:
    """The tight box of a mask's foreground, (4,) float64.

    Raises:
        PromptError: the mask is empty.
    """
    ys = np.flatnonzero(mask_HW.any(axis=1))
    xs = np.flatnonzero(mask_HW.any(axis=0))
    if not len(ys):
        raise PromptError("the mask is empty", expected="foreground to draw a box around", fix="skip this slice")
    x0, y0, x1, y1 = float(xs[0]), float(ys[0]), float(xs[-1]), float(ys[-1])
    height, width = mask_HW.shape
    x0, x1 = _at_least_one(x0, x1, width)
    y0, y1 = _at_least_one(y0, y1, height)
    return np.array([x0, y0, x1, y1])


def _at_least_one(low: float, high: float, size: int) -> tuple[float, float]:
    if high > low:
        return low, high
    return (low, high + 1) if high + 1 <= size else (low - 1, high)


def clip_boxes(boxes_N4: Boxes, height: int, width: int) -> Boxes:
    """Cut boxes to the slice; a box wholly outside becomes empty and validate_boxes then refuses it."""
    limits = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(boxes_N4, 0.0, limits)


def fit_box(box: Box, limit: Box) -> Box:
    """Cut a box to another one (at least a pixel wide and high) and keep it at least one pixel wide and high."""
    x0, x1 = _fit_side(box[0], box[2], limit[0], limit[2])
    y0, y1 = _fit_side(box[1], box[3], limit[1], limit[3])
    return x0, y0, x1, y1


def _fit_side(low: float, high: float, lowest: float, highest: float) -> tuple[float, float]:
    low, high = max(low, lowest), min(high, highest)
    if high - low >= 1:
        return low, high
    centre = min(max((low + high) / 2, lowest + 0.5), highest - 0.5)
    return centre - 0.5, centre + 0.5


def perturb_boxes(
    boxes_N4: Boxes,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    max_px: float = 20.0,
    frame: int = 1024,
    noise: Noise = "both",
    max_share: float | None = None,
) -> Boxes:
    """Move every side of every box by a random amount, as a hurried reader would.

    Args:
        boxes_N4: (N, 4), x0 y0 x1 y1 in slice pixels.
        height: H of the slice in pixels.
        width: W of the slice in pixels.
        rng: Where the numbers come from.
        max_px: Largest move of a side, in pixels of a frame x frame picture of the slice.
        frame: The paper's frame, 1024.
        noise: One of the keys of MOVES.
        max_share: Largest move of a side, as a share of the box's own width or height; None sets no such limit.

    Returns:
        (N, 4) float64, clipped to the slice; a box that would vanish keeps at least one pixel.

    Source: paper, Methods, "Training protocol" (random perturbation of 0-20 pixels).
    """
    size_4 = np.array([width, height, width, height])
    moves = MOVES[noise](boxes_N4.shape, max_px, rng) * (size_4 / frame)
    if max_share is not None:
        sides_N4 = np.tile(boxes_N4[:, 2:] - boxes_N4[:, :2], 2)
        moves *= np.minimum(1.0, max_share * sides_N4 / np.maximum(max_px * size_4 / frame, 1e-9))
    if noise == "shift":  # stops at the edge of the slice, so that the box keeps its size
        low_N2, high_N2 = -boxes_N4[:, :2], size_4[:2] - boxes_N4[:, 2:]
        moves = np.tile(np.clip(moves[:, :2], np.minimum(low_N2, 0), np.maximum(high_N2, 0)), 2)
    moved = clip_boxes(boxes_N4 + moves, height, width)
    for axis, size in ((0, width), (1, height)):
        thin = moved[:, axis + 2] - moved[:, axis] < 1
        centre = np.clip((boxes_N4[:, axis] + boxes_N4[:, axis + 2]) / 2, 0.5, size - 0.5)
        moved[thin, axis], moved[thin, axis + 2] = centre[thin] - 0.5, centre[thin] + 0.5
    return moved


def _both(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> Boxes:
    return rng.uniform(-most, most, size=shape) * OUTWARD


def _enlarge(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> Boxes:
    return rng.uniform(0.0, most, size=shape) * OUTWARD


def _shift(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> Boxes:
    moves_N2 = rng.uniform(-most, most, size=(shape[0], 2))
    return np.concatenate([moves_N2, moves_N2], axis=1)


def _all(shape: tuple[int, ...], most: float, rng: np.random.Generator) -> Boxes:
    return _shift(shape, most / 2, rng) + _both(shape, most / 2, rng)


# How the sides move, in pixels of the frame: each by itself in or out (the paper), each outwards only (the released
# training), the box as a whole, or half of the room as a whole and half of it side by side.
MOVES: dict[Noise, Callable[[tuple[int, ...], float, np.random.Generator], Boxes]] = {
    "both": _both,
    "enlarge": _enlarge,
    "shift": _shift,
    "all": _all,
}
