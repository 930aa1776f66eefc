"""From rectangles, or masks, on some slices to a box, or a mask, on every slice between them.

The rectangles are step 2 of the paper's human annotation study. Shape legend: N slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.annotation.markers import Marker, check_markers
from medsam.errors import PromptError
from medsam.imaging.box_options import BoxOptions
from medsam.imaging.boxes import Box, fit_box
from medsam.imaging.image import Grid
from medsam.inference.volume.tracks import interpolate_boxes

BoxesOfObjects = dict[int, dict[int, Box]]
# An object is thicker between two marked slices than a straight line from one to the other: of a ball, the square of half a side grows by the
# product of the distances to both slices. How much of that product an object gains is read from the marked slices that lie between others,
# and half a mark's worth of this guess is added. Chosen on box overlap alone (docs/experiments.md); slices of 1 mm hardly feel it.
ROUNDNESS = 0.5
GUESS = 0.5  # of a marked slice


def boxes_from_markers(markers: Sequence[Marker], grid: Grid, how: BoxOptions) -> BoxesOfObjects:
    """Give every object a box on each of its slices.

    Args:
        markers: Any number per object and slice; those of one object on one slice share a rectangle.
        grid: Of the scan, slices first.
        how: Interpolation, margin, largest gap.

    Returns:
        {label: {slice: (x0, y0, x1, y1)}}, inside the slice, at least one pixel wide and high, both in ascending order.

    Raises:
        PromptError: no markers, some outside the scan, or (legacy) an object on a single slice.
    """
    check_markers(markers, grid)
    rectangles: BoxesOfObjects = {}
    for label in sorted({m.label for m in markers}):
        own = [m for m in markers if m.label == label]
        rectangles[label] = {
            index: _cover([m.box for m in own if m.slice == index]) for index in sorted({m.slice for m in own})
        }
    if how.interpolation == "legacy":
        return {label: _legacy(label, marked, grid.shape[1:], how) for label, marked in rectangles.items()}
    return {label: _straight(marked, grid, how) for label, marked in rectangles.items()}


def _cover(boxes: Sequence[Box]) -> Box:
    x0, y0, x1, y1 = np.array(boxes).T
    return float(x0.min()), float(y0.min()), float(x1.max()), float(y1.max())


def _straight(marked: dict[int, Box], grid: Grid, how: BoxOptions) -> dict[int, Box]:
    spacing_mm = grid.spacing_mm if how.interpolation == "round" else None
    runs = _runs(marked, how.max_gap)
    filled = {index: box for run in runs for index, box in interpolate_boxes({k: marked[k] for k in run}).items()}
    if spacing_mm is not None:
        roundness = estimate_roundness(marked, runs, spacing_mm)
        for start, stop in (step for run in runs for step in pairwise(run)):
            for index in range(start + 1, stop):
                room_mm2 = roundness * (index - start) * (stop - index) * spacing_mm[0] ** 2
                filled[index] = _rounded(filled[index], room_mm2, spacing_mm)
    size_hw = (grid.shape[1], grid.shape[2])
    margin_px = how.find_margin(size_hw)
    return {index: _fitted(box, margin_px, size_hw) for index, box in filled.items()}


def estimate_roundness(
    marked: Mapping[int, Box], runs: Sequence[Sequence[int]], spacing_mm: tuple[float, float, float]
) -> float:
    """Estimate how much of a ball an object is across its slices: 0 a tube, 1 a ball.

    Args:
        marked: Slice to the rectangle there.
        runs: Marked slices in groups that are bridged.
        spacing_mm: Of slices, rows and columns.

    Returns:
        The mean over the marked slices between two others of what is missing in the straight line between those, each kept in 0 to 1.
    """
    found = [GUESS * ROUNDNESS]
    for first, inner, last in ((run[i], run[i + 1], run[i + 2]) for run in runs for i in range(len(run) - 2)):
        share = (inner - first) / (last - first)
        room_mm2 = (inner - first) * (last - inner) * spacing_mm[0] ** 2
        halves = np.array([_half_sides(marked[k], spacing_mm) for k in (first, inner, last)])
        missing_mm2 = halves[1] ** 2 - ((1 - share) * halves[0] + share * halves[2]) ** 2
        found.append(float(np.clip(np.mean(missing_mm2) / room_mm2, 0.0, 1.0)))
    return sum(found) / (GUESS + len(found) - 1)


def _half_sides(box: Box, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    return (box[2] - box[0]) / 2 * spacing_mm[2], (box[3] - box[1]) / 2 * spacing_mm[1]


def _rounded(box: Box, room_mm2: float, spacing_mm: tuple[float, float, float]) -> Box:
    """A box around the same centre, the square of half its width and of half its height larger by this much."""
    x0, y0, x1, y1 = box
    half_mm_x, half_mm_y = _half_sides(box, spacing_mm)
    half_x = float(np.sqrt(half_mm_x**2 + room_mm2)) / spacing_mm[2]
    half_y = float(np.sqrt(half_mm_y**2 + room_mm2)) / spacing_mm[1]
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    return middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y


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
    x0, y0, x1, y1 = box
    wider = (x0 - margin_px, y0 - margin_px, x1 + margin_px, y1 + margin_px)
    return fit_box(wider, (0.0, 0.0, float(size_hw[1]), float(size_hw[0])))


def _legacy(label: int, marked: dict[int, Box], size_hw: tuple[int, int], how: BoxOptions) -> dict[int, Box]:
    """The released way: rectangles to distance maps, blended, cut where they round to 0, boxes read from the rest."""
    runs = _runs(marked, how.max_gap)
    alone = [run[0] for run in runs if len(run) == 1]
    if alone:
        raise PromptError(
            f"object {label} is marked on slice {alone[0]} alone",
            expected="two marked slices, without which the released interpolation drops the object",
            fix="mark a second slice, or use --interpolation linear",
        )
    margin_px = how.find_margin(size_hw)
    outside = {index: _distance_map(box, margin_px, size_hw) for index, box in marked.items()}
    boxes: dict[int, Box] = {}
    for start, stop in (step for run in runs for step in pairwise(run)):
        for index in range(start, stop + 1):
            share = (index - start) / (stop - start)
            inside = np.rint((1 - share) * outside[start] + share * outside[stop]) <= 0
            box = _released_box(inside, margin_px)
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


def interpolate_masks(
    first_HW: NDArray[np.bool_], last_HW: NDArray[np.bool_], between: int, spacing_yx: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.bool_]:
    """Masks of one object on the slices between two: its centre moves in a straight line, its outline by distance.

    Args:
        first_HW: On one slice.
        last_HW: On the other.
        between: Number of slices between them.
        spacing_yx: Of the pixels; their proportion counts.

    Returns:
        (N, H, W), in order, the two given ones not among them.

    Raises:
        PromptError: a mask is empty.

    Source: Raya and Udupa 1990, shape-based interpolation; the centres are brought together first, without which
        shapes that lie apart vanish between.
    """
    if not (first_HW.any() and last_HW.any()):
        raise PromptError(
            "a slice without the object", expected="the object on both slices", fix="draw it on both, then interpolate"
        )
    outside = [_signed_distance(mask_HW, spacing_yx) for mask_HW in (first_HW, last_HW)]
    centres = [np.array(ndimage.center_of_mass(mask_HW)) for mask_HW in (first_HW, last_HW)]
    made = np.zeros((between, *first_HW.shape), dtype=bool)
    for n in range(between):
        share = (n + 1) / (between + 1)
        here = (1 - share) * centres[0] + share * centres[1]
        moved = [
            ndimage.shift(distance, here - centre, order=1, mode="nearest")
            for distance, centre in zip(outside, centres, strict=True)
        ]
        made[n] = (1 - share) * moved[0] + share * moved[1] < 0
    return made


def _signed_distance(mask_HW: NDArray[np.bool_], spacing_yx: tuple[float, float]) -> NDArray[np.float64]:
    """Distance to the edge, which lies half a pixel from the centres on either side of it; negative inside."""
    half = min(spacing_yx) / 2
    padded = np.pad(mask_HW, 1)  # so that a mask that fills the slice has an outside
    inside = ndimage.distance_transform_edt(padded, sampling=spacing_yx)[1:-1, 1:-1]
    outside = ndimage.distance_transform_edt(~padded, sampling=spacing_yx)[1:-1, 1:-1]
    signed: NDArray[np.float64] = np.where(mask_HW, half - inside, outside - half)
    return signed
