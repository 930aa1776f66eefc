"""Strokes, clicks, boxes and lassos of a viewer as prompts on slices.

Shape legend: D, H, W the axes of the viewer's array; slices run along one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError
from medsam.imaging.boxes import Box, fit_box
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.spread import merge_prompts

POINTS_A_STROKE = 5  # along a stroke on a slice, besides its outermost pixels


def flat_axis(sizes: Sequence[int], usual: int) -> int | None:
    """The axis along which something is one voxel thick: the usual one where it is, else the first; None for a solid."""
    thin = [axis for axis, size in enumerate(sizes) if size == 1]
    return usual if usual in thin else next(iter(thin), None)


def stroke_prompts(stroke_DHW: NDArray[np.bool_], first: Sequence[int], axis: int, *, inside: bool) -> list[Prompt]:
    """A stroke as points on every slice that it touches.

    Args:
        stroke_DHW: What was drawn, or a part of the volume around it.
        first: Where that part begins in the volume, one index for each axis.
        axis: Of the slices.
        inside: Whether it was drawn inside the object.

    Raises:
        PromptError: nothing was drawn.
    """
    prompts = []
    for k, y0, x0, plane_HW in _planes(stroke_DHW, first, axis):
        points = tuple((float(x + x0), float(y + y0)) for y, x in _along(plane_HW))
        prompts.append(Prompt(1, slice=k, points=points, point_labels=(int(inside),) * len(points)))
    return prompts


def lasso_prompts(lasso_DHW: NDArray[np.bool_], first: Sequence[int], axis: int) -> list[Prompt]:
    """A lasso as the box around it on every slice that it touches.

    Raises:
        PromptError: nothing was drawn.
    """
    prompts = []
    for k, y0, x0, plane_HW in _planes(lasso_DHW, first, axis):
        ys, xs = np.nonzero(plane_HW)
        box = xs.min() + x0, ys.min() + y0, xs.max() + x0, ys.max() + y0
        prompts.append(Prompt(1, slice=k, box=_wide(box)))
    return prompts


def _planes(
    drawn_DHW: NDArray[np.bool_], first: Sequence[int], axis: int
) -> list[tuple[int, int, int, NDArray[np.bool_]]]:
    """Slice, first row, first column and what was drawn, of each slice that was drawn on."""
    y0, x0 = (first[a] for a in range(3) if a != axis)
    planes = np.moveaxis(drawn_DHW, axis, 0)
    hit = np.flatnonzero(planes.any(axis=(1, 2)))
    if not len(hit):
        raise PromptError("an empty drawing", expected="at least one voxel", fix="draw it anew")
    return [(int(k) + first[axis], y0, x0, planes[k]) for k in hit]


def _along(plane_HW: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels (y, x) of a stroke: the outermost ones, and some along its longest direction."""
    yx = np.argwhere(plane_HW)
    centred = yx - yx.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0] if len(yx) > 2 else np.array([1.0, 0.0])
    order = np.argsort(centred @ direction, kind="stable")
    spaced = order[np.linspace(0, len(yx) - 1, min(len(yx), POINTS_A_STROKE)).round().astype(int)]
    outermost = [yx[:, 0].argmin(), yx[:, 0].argmax(), yx[:, 1].argmin(), yx[:, 1].argmax()]
    chosen: NDArray[np.int64] = yx[np.unique([*spaced, *outermost])]
    return chosen


def _wide(box: tuple[float, float, float, float]) -> Box:
    """At least one pixel wide and high."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def flat_box(bounds: Sequence[tuple[int, int]], axis: int) -> Prompt:
    """A half-open box of voxels, one thick along an axis, as a box on that slice."""
    (y0, y1), (x0, x1) = (bounds[a] for a in range(3) if a != axis)
    return Prompt(1, slice=bounds[axis][0], box=_wide((x0, y0, x1 - 1, y1 - 1)))


def solid_box(bounds: Sequence[tuple[int, int]], axis: int) -> Prompt:
    """A half-open box of voxels through several slices along an axis."""
    (y0, y1), (x0, x1) = (bounds[a] for a in range(3) if a != axis)
    low_x, low_y, high_x, high_y = _wide((x0, y0, x1 - 1, y1 - 1))
    return Prompt(1, box_3d=(low_x, low_y, bounds[axis][0], high_x, high_y, bounds[axis][1] - 1))


def settle(prompts: Sequence[Prompt], labels_DHW: NDArray[np.integer], *, clicks: bool) -> list[Prompt]:
    """Make of all that was drawn on a slice one prompt that the model can answer.

    Where the object is not yet, points outside it say nothing and go. For a model that answers boxes alone, two or more
    points inside become the box around them there, as the ends of axis lines do in the paper's annotation study; one
    point says nothing of the size of an object and stays as it is.

    Args:
        prompts: On slices of labels_DHW.
        labels_DHW: The mask so far, its slices first.
        clicks: Whether the model answers points.
    """
    settled: list[Prompt] = []
    for prompt in merge_prompts(prompts):
        inside = [xy for xy, sign in zip(prompt.points, prompt.point_labels, strict=True) if sign]
        bare = prompt.slice is not None and 0 <= prompt.slice < len(labels_DHW) and not labels_DHW[prompt.slice].any()
        if prompt.box is not None or prompt.box_3d is not None or not bare:
            settled.append(prompt)
        elif len(inside) > 1 and not clicks:
            xs, ys = zip(*inside, strict=True)
            limit = (0.0, 0.0, float(labels_DHW.shape[2]), float(labels_DHW.shape[1]))
            box = fit_box((min(xs), min(ys), max(xs), max(ys)), limit)
            settled.append(replace(prompt, box=box, points=(), point_labels=()))
        elif inside:
            settled.append(prompt)
    return settled
