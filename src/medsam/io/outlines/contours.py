"""Between regions of pixels and polygons, exactly: tracing the pixels' own edges and filling by the even-odd rule.

Corner coordinates: pixel (row r, column c) covers x in [c, c + 1] and y in [r, r + 1]; its centre is half-way.
Rings are (P, 2) float64 x y, closed without repeating the first point.
Shape legend: H rows, W columns, P points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ring = NDArray[np.float64]

# Directions right, down, left, up: the step of a corner, and the pixel on an edge's right hand, both as (dy, dx).
STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
INNER = np.array([(0, 0), (0, -1), (-1, -1), (-1, 0)])
TOUCH_PX = 0.01  # rings that touch at a corner cross by twice the inset


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected piece of a region.

    Args:
        outer: (P, 2) ring, clockwise on the screen (y down).
        holes: Rings inside it, counter-clockwise.
    """

    outer: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The outer ring, then the holes."""
        return (self.outer, *self.holes)


def trace(region_HW: NDArray[np.bool_]) -> list[Polygon]:
    """Trace every 4-connected piece of a region along its pixels' edges.

    Args:
        region_HW: (H, W) bool.

    Returns:
        Polygons with integer corner coordinates and simple rings: no point comes twice, pieces that touch at a corner
        are apart. Filling them with `fill` gives region_HW back exactly.
    """
    pieces, count = ndimage.label(region_HW)
    polygons = []
    for number, window in enumerate(ndimage.find_objects(pieces), start=1):
        rows, columns = window
        polygons.append(_outline(pieces[window] == number, (rows.start, columns.start)))
    assert len(polygons) == count  # noqa: S101
    return polygons


def _outline(piece_HW: NDArray[np.bool_], origin_yx: tuple[int, int]) -> Polygon:
    rings = [np.array(ring, dtype=np.float64)[:, ::-1] + origin_yx[::-1] for ring in _loops(piece_HW)]
    rings.sort(key=measure_area, reverse=True)
    return Polygon(rings[0], tuple(rings[1:]))


def _loops(piece_HW: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Simple loops of corners (y, x) around a piece, the piece on the right hand."""
    start_yx, direction = _edges(piece_HW)
    following = _successors(start_yx, direction, piece_HW.shape[1] + 1)
    visited = np.zeros(len(direction), dtype=bool).tolist()
    corners = [(y, x) for y, x in start_yx.tolist()]
    turns, chain = direction.tolist(), following.tolist()
    loops: list[list[tuple[int, int]]] = []
    for first in range(len(turns)):
        walk, edge = [], first
        while not visited[edge]:
            visited[edge] = True
            walk.append((corners[edge], turns[edge]))
            edge = chain[edge]
        if walk:
            loops.extend(_split(walk))
    return loops


def _edges(piece_HW: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All edges between a piece and its outside: starting corners (E, 2) as y x, and directions (E,)."""
    padded = np.pad(piece_HW, 1)
    inside = padded[1:-1, 1:-1]
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])  # above, right, below, left
    starts, directions = [], []
    for direction, neighbour in enumerate(outside):
        pixels = np.argwhere(inside & ~neighbour)
        starts.append(pixels - INNER[direction])
        directions.append(np.full(len(pixels), direction))
    return np.concatenate(starts), np.concatenate(directions)


def _successors(start_yx: NDArray[np.int64], direction: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Index of the edge after each edge; where two leave a corner, the right turn, which stays with its pixel."""
    keys = (start_yx[:, 0] * width + start_yx[:, 1]) * 4 + direction
    order = np.argsort(keys)
    end_yx = start_yx + STEPS[direction]
    ends = (end_yx[:, 0] * width + end_yx[:, 1]) * 4
    following = np.full(len(keys), -1)
    for turn in (3, 0, 1):  # left, straight, right: the last that exists wins
        wanted = ends + (direction + turn) % 4
        place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
        found = keys[order[place]] == wanted
        following[found] = order[place[found]]
    return following


def _split(walk: list[tuple[tuple[int, int], int]]) -> list[list[tuple[int, int]]]:
    """Cut a closed walk wherever it meets a corner again, and drop the corners on straight runs."""
    loops: list[list[tuple[tuple[int, int], int]]] = []
    stack: list[tuple[tuple[int, int], int]] = []
    seen: dict[tuple[int, int], int] = {}
    for corner, turn in walk:
        if corner in seen:
            at = seen[corner]
            loops.append(stack[at:])
            for dropped, _ in stack[at:]:
                del seen[dropped]
            del stack[at:]
        seen[corner] = len(stack)
        stack.append((corner, turn))
    loops.append(stack)
    return [[point for (_, came), (point, goes) in pairwise([loop[-1], *loop]) if came != goes] for loop in loops]


def measure_area(ring: Ring) -> float:
    """Area within a ring in square pixels; positive when clockwise on the screen."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def shrink(polygon: Polygon, distance_px: float) -> Polygon:
    """Move a traced polygon's edges into its region, so that readers who round to pixels meet the right ones."""
    return Polygon(_inset(polygon.outer, distance_px), tuple(_inset(hole, distance_px) for hole in polygon.holes))


def _inset(ring: Ring, distance_px: float) -> Ring:
    ahead = np.sign(np.roll(ring, -1, axis=0) - ring)
    behind = np.roll(ahead, 1, axis=0)
    right = np.stack([-(ahead + behind)[:, 1], (ahead + behind)[:, 0]], axis=1)  # sum of both edges' inward normals
    return ring + distance_px * right


def join_holes(polygon: Polygon) -> Ring:
    """Join a traced polygon's holes to its outer ring by channels of no width, as DICOM's CLOSED_PLANAR asks.

    Returns:
        (P, 2) one ring; filling it by the even-odd rule gives the polygon with its holes.
    """
    ring = polygon.outer
    for hole in sorted(polygon.holes, key=lambda r: float(r[:, 0].min())):
        tip = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
        x, y = hole[tip]
        ends = np.roll(ring, -1, axis=0)
        low, high = np.minimum(ring[:, 1], ends[:, 1]), np.maximum(ring[:, 1], ends[:, 1])
        upright = (
            (ring[:, 0] == ends[:, 0]) & (ring[:, 0] <= x + TOUCH_PX) & (low - TOUCH_PX <= y) & (y <= high + TOUCH_PX)
        )
        edge = int(np.argmax(np.where(upright, ring[:, 0], -np.inf)))
        gate = np.array(
            [[ring[edge, 0], min(max(y, low[edge]), high[edge])]]
        )  # on the edge, so that nothing else moves
        around = np.roll(hole, -tip, axis=0)
        ring = np.concatenate([ring[: edge + 1], gate, around, around[:1], gate, ring[edge + 1 :]])
    return ring


def fill(rings: Iterable[Ring], height: int, width: int) -> NDArray[np.bool_]:
    """Give the pixels whose centre lies inside an odd number of rings.

    Args:
        rings: (P, 2) x y in corner coordinates; parts outside the slice are cut.
        height: H of the slice in pixels.
        width: W of the slice in pixels.

    Returns:
        (H, W) bool. A centre exactly on a left or upper edge is inside, on a right or lower edge outside.
    """
    starts, ends = _segments(rings)
    y0, y1 = starts[:, 1], ends[:, 1]
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, height).astype(np.int64)
    edges = np.repeat(np.arange(len(starts)), last - first)
    if not len(edges):
        return np.zeros((height, width), dtype=bool)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(last - first) - last, last - first)
    share = (rows + 0.5 - y0[edges]) / (y1 - y0)[edges]
    crossing = starts[edges, 0] + share * (ends - starts)[edges, 0]
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    places, times = np.unique(rows * (width + 1) + columns, return_counts=True)
    toggles = np.zeros((height, width + 1), dtype=bool)
    toggles.flat[places[times % 2 == 1]] = True
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(toggles[:, :-1], axis=1)
    return inside


def _segments(rings: Iterable[Ring]) -> tuple[Ring, Ring]:
    kept: Sequence[Ring] = [np.asarray(ring, dtype=np.float64) for ring in rings]
    if not kept:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return np.concatenate(kept), np.concatenate([np.roll(ring, -1, axis=0) for ring in kept])
