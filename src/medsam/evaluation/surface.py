"""Surface elements of a binary mask: where they are and how large they are.

The definition is that of the published surface-distance package: the mask is read on the dual lattice, whose cells have
8 voxels (3D) or 4 pixels (2D) as corners. A cell with mixed corners is one surface element; it sits at the cell's
centre and has the area (length) of the marching cubes (squares) patch through the middles of its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

# The 14 ways to split the corners of a cube, up to rotation and exchange of inside and outside: corners inside as
# (z, y, x), then the vector area of each triangle of the patch as (z, y, x) shares of the three faces, signs dropped.
_CORNER = (1 / 8, 1 / 8, 1 / 8)
_HALF = (1 / 4, 1 / 4, 1 / 4)
_WIDE = (3 / 8, 3 / 8, 3 / 8)
_FACE_Z = (1 / 2, 0, 0)
_CASES: tuple[tuple[str, tuple[tuple[float, float, float], ...]], ...] = (
    ("000", (_CORNER,)),
    ("000 001", ((1 / 4, 1 / 4, 0),) * 2),
    ("001 010", (_CORNER,) * 2),
    ("000 111", (_CORNER,) * 2),
    ("000 001 010", (_CORNER, _HALF, _FACE_Z)),
    ("000 001 110", ((1 / 4, 1 / 4, 0),) * 2 + (_CORNER,)),
    ("001 010 100", (_CORNER,) * 3),
    ("000 001 010 011", (_FACE_Z,) * 2),
    ("000 001 010 100", (_CORNER,) * 2 + (_HALF,) * 2),
    ("011 100 110 111", (_CORNER, (0, 1 / 4, 1 / 4), (1 / 4, 0, 1 / 4), _WIDE)),  # a chain of four corners
    ("011 100 101 111", (_CORNER, (0, 1 / 4, 1 / 4), (1 / 4, 1 / 4, 0), _WIDE)),  # and its mirror image
    ("001 010 011 100", (_CORNER,) * 2 + (_HALF, _FACE_Z)),
    ("000 001 110 111", ((1 / 4, 1 / 4, 0),) * 4),
    ("000 011 101 110", (_CORNER,) * 4),
)


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface elements of one mask.

    Args:
        cells_NK: (N, K) int32 lattice positions of the elements; K is 2 or 3, axes in array order.
        sizes_N: (N,) float64 length in mm (2D) or area in mm2 (3D).
    """

    cells_NK: NDArray[np.int32]
    sizes_N: NDArray[np.float64]


def find_surface(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> Surface:
    """Find the surface elements of a mask.

    Args:
        mask: (H, W) or (D, H, W) bool; outside of the array counts as background.
        spacing_mm: Distance of pixels along each axis of the array.

    Returns:
        The elements, none where the mask is empty.
    """
    corner = _first_and_last(mask)
    if corner is None:
        return Surface(np.zeros((0, mask.ndim), dtype=np.int32), np.zeros(0))
    starts, stops = corner
    codes = np.pad(mask[tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))], 1).view(np.uint8)
    # The last axis comes first and takes bit 0, so that a corner's bit is its (z, y, x) read as a number.
    for bit, axis in enumerate(reversed(range(mask.ndim))):
        low = codes[(slice(None),) * axis + (slice(None, -1),)]
        high = codes[(slice(None),) * axis + (slice(1, None),)]
        codes = low | (high << np.uint8(1 << bit))
    sizes = _lengths(spacing_mm) if mask.ndim == 2 else _areas(spacing_mm)
    flat = np.flatnonzero((codes != 0) & (codes != len(sizes) - 1))
    cells = np.stack(np.unravel_index(flat, codes.shape), axis=1) + starts
    return Surface(cells.astype(np.int32), sizes[codes.reshape(-1)[flat]])


def _first_and_last(mask: NDArray[np.bool_]) -> tuple[list[int], list[int]] | None:
    """The box of the foreground as starts and stops, None where there is none."""
    rows = np.flatnonzero(mask.any(axis=tuple(range(1, mask.ndim))))
    if not len(rows):
        return None
    first, last = int(rows[0]), int(rows[-1]) + 1
    if mask.ndim == 1:
        return [first], [last]
    rest = _first_and_last(np.asarray(mask[first:last].any(axis=0)))
    assert rest is not None  # noqa: S101 - a row with foreground has foreground columns
    return [first, *rest[0]], [last, *rest[1]]


@lru_cache(maxsize=64)
def _lengths(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Contour length in each of the 16 squares; bit 0 is (0, 0), bit 1 (0, 1), bit 2 (1, 0), bit 3 (1, 1)."""
    down, right = spacing_mm
    diagonal = float(np.hypot(down, right)) / 2
    table = np.full(16, diagonal)  # one corner apart from the other three
    table[[0b0000, 0b1111]] = 0
    table[[0b0011, 0b1100]] = right
    table[[0b0101, 0b1010]] = down
    table[[0b0110, 0b1001]] = 2 * diagonal
    return table


@lru_cache(maxsize=64)
def _areas(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Patch area in each of the 256 cubes; bit 4 z + 2 y + x is the corner (z, y, x)."""
    z, y, x = spacing_mm
    faces = np.array([y * x, z * x, z * y])
    areas: NDArray[np.float64] = np.linalg.norm(_patches() * faces, axis=2).sum(axis=1)  # (256, 4, 3) -> (256,)
    return areas


@lru_cache(maxsize=1)
def _patches() -> NDArray[np.float64]:
    """(256, 4, 3) vector areas of the triangles of every cube, from the 14 mixed cases and their rotations."""
    table = np.zeros((256, 4, 3))
    for text, triangles in _CASES:
        corners = np.array([[int(c) for c in corner] for corner in text.split()])
        vectors = np.zeros((4, 3))
        vectors[: len(triangles)] = triangles
        for order, flips in product(permutations(range(3)), product((0, 1), repeat=3)):
            if _is_mirror(order, flips):
                continue
            moved = corners[:, order] ^ np.array(flips)
            code = int((1 << (moved @ (4, 2, 1))).sum())
            table[code] = table[255 - code] = vectors[:, order]
    return table


def _is_mirror(order: tuple[int, ...], flips: tuple[int, ...]) -> bool:
    """Whether a move of the axes turns a left hand into a right one."""
    swaps = sum(order[i] > order[j] for i in range(3) for j in range(i + 1, 3))
    return bool((swaps + sum(flips)) % 2)
