"""Put label maps where they belong: onto a reference grid without resampling, and segments onto one label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Affine, Grid, Mask

Overlap = Literal["refuse", "first", "last"]
TOLERANCE_MM = 0.01
MAX_LABEL = (1 << 32) - 1


@dataclass(frozen=True)
class Segment:
    """One structure of a file that keeps structures apart.

    Args:
        label: Its id in the label map, at least 1.
        name: Its name, "" without one.
        color: (r, g, b) in 0..255.
        code: (scheme, value, meaning), where it says more than the name.
    """

    label: int
    name: str = ""
    color: tuple[int, int, int] | None = None
    code: tuple[str, str, str] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.label <= MAX_LABEL:
            raise InputFileError(
                f"a segment has the label {self.label:.6g}",
                expected=f"1 to {MAX_LABEL}",
                fix="renumber the segments",
            )


class LabelPainter:
    """Paints segments that may overlap onto one label map, and refuses or settles voxels that two of them claim."""

    def __init__(self, grid: Grid, segments: Sequence[Segment], *, overlap: Overlap = "refuse") -> None:
        self.grid = grid
        self.segments = tuple(segments)
        self._overlap = overlap
        self._ranks = np.zeros(grid.shape, dtype=np.uint8 if len(segments) < 256 else np.uint16)
        self._doubles: dict[tuple[int, int], int] = {}

    def paint(self, where: tuple[int | slice, ...], region: NDArray[np.bool_], rank: int) -> None:
        """Paint the segment of a rank (its place in `segments`) where a region of a part of the grid is true."""
        view = self._ranks[where]
        taken = region & (view != 0) & (view != rank + 1)
        if taken.any():
            others, counts = np.unique(view[taken], return_counts=True)
            for other, count in zip(others.tolist(), counts.tolist(), strict=True):
                pair = (min(other - 1, rank), max(other - 1, rank))
                self._doubles[pair] = self._doubles.get(pair, 0) + count
            if self._overlap == "first":
                region = region & ~(taken & (view < rank + 1))
            else:
                region = region & ~(taken & (view > rank + 1))
        view[region] = rank + 1

    def paint_values(self, values: NDArray[np.integer], ranks: Mapping[int, int]) -> None:
        """Paint a whole label map at once, before anything else: the segment of rank ranks[v] where values are v."""
        known = np.array([0, *sorted(ranks)])
        table = np.array([0, *(ranks[v] + 1 for v in sorted(ranks))], dtype=self._ranks.dtype)
        for plane, painted in zip(values, self._ranks, strict=True):
            place = np.minimum(np.searchsorted(known, plane), len(known) - 1)
            painted[...] = np.where(known[place] == plane, table[place], 0)

    def finish(self, path: Path) -> Mask:
        """Give the label map.

        Raises:
            InputFileError: two segments claim the same voxels and overlap is "refuse".
        """
        if self._doubles and self._overlap == "refuse":
            (one, two), count = max(self._doubles.items(), key=lambda item: item[1])
            names = " and ".join(f"{self.segments[rank].label} ({self.segments[rank].name!r})" for rank in (one, two))
            raise InputFileError(
                f"{path}: segments {names} overlap in {count} voxels",
                expected="one label per voxel",
                fix="run medsam convert with --only to take some segments, or --overlap first or last to settle it",
            )
        table = np.array([0, *(s.label for s in self.segments)])
        labels = table.astype(choose_dtype(int(table.max())))[self._ranks]
        titles = {s.label: s.name for s in self.segments if s.name}
        colors = {s.label: s.color for s in self.segments if s.color}
        return Mask(labels, self.grid, titles, colors, {s.label: s.code for s in self.segments if s.code})


def choose_dtype(largest: int) -> type[np.unsignedinteger]:
    """The smallest unsigned type that holds a label id."""
    return np.uint8 if largest < 256 else np.uint16 if largest < 65536 else np.uint32


def choose_segments(segments: Sequence[Segment], only: Sequence[str] | None, path: Path) -> list[Segment]:
    """The segments asked for by name or number, in the file's order; all of them with only=None.

    Raises:
        InputFileError: one that was asked for is not in the file.
    """
    if only is None:
        return list(segments)
    wanted = {text.strip().casefold() for text in only}
    taken = [s for s in segments if wanted & {s.name.casefold(), str(s.label)}]
    missing = wanted - {s.name.casefold() for s in taken} - {str(s.label) for s in taken}
    if missing:
        there = ", ".join(f"{s.label} ({s.name})" for s in segments)
        raise InputFileError(
            f"{path} has no segment {sorted(missing)}", expected=f"some of {there}", fix="choose among them"
        )
    return taken


def keep_segments(mask: Mask, only: Sequence[str] | None, path: Path) -> Mask:
    """The mask with only the labels asked for by name or number.

    Raises:
        InputFileError: one that was asked for is not there.
    """
    if only is None:
        return mask
    ids = sorted({*mask.ids, *mask.names})
    wanted = [s.label for s in choose_segments([Segment(i, mask.names.get(i, "")) for i in ids], only, path)]
    names = {i: name for i, name in mask.names.items() if i in wanted}
    colors = {i: color for i, color in mask.colors.items() if i in wanted}
    labels = np.where(np.isin(mask.labels, wanted), mask.labels, 0).astype(mask.labels.dtype)
    codes = {i: code for i, code in mask.codes.items() if i in wanted}
    return replace(mask, labels=labels, names=names, colors=colors, codes=codes)


def place(mask: Mask, grid: Grid, *, tolerance_mm: float = TOLERANCE_MM) -> Mask:
    """Lay a mask onto a reference grid by turning, flipping, cutting and padding with background; never by resampling.

    Args:
        mask: Labels on their own grid, which may be a part of the reference or the same voxels in another order.
        grid: The reference.
        tolerance_mm: How far a voxel may lie from the reference's voxel.

    Raises:
        GeometryError: voxels do not coincide, or foreground lies outside the reference.
    """
    if mask.grid.same_as(grid, tolerance_mm):
        return replace(mask, grid=grid)
    if mask.grid.spacing_mm is None:
        if mask.grid.shape == grid.shape:
            return replace(mask, grid=grid)
        _refuse(mask.grid, grid, f"shape {mask.grid.shape}")
    order, flips, offset = _lattice_match(mask.grid, grid, tolerance_mm)
    turned = np.transpose(mask.labels, order)
    turned = np.flip(turned, tuple(axis for axis in range(3) if flips[axis]))
    labels = np.zeros(grid.shape, dtype=mask.labels.dtype)
    into = tuple(
        slice(max(o, 0), max(min(o + n, size), 0)) for o, n, size in zip(offset, turned.shape, grid.shape, strict=True)
    )
    out_of = tuple(slice(s.start - o, s.stop - o) for s, o in zip(into, offset, strict=True))
    empty = any(s.stop <= s.start for s in into)
    inside = 0 if empty else int(np.count_nonzero(turned[out_of]))
    lost = int(np.count_nonzero(turned)) - inside
    if lost:
        _refuse(mask.grid, grid, f"{lost} foreground voxels outside the reference")
    if not empty:
        labels[into] = turned[out_of]
    return replace(mask, labels=labels, grid=grid)


def lay_on_grid(mask: Mask, grid: Grid) -> Mask:
    """The mask on exactly a grid, as place; headers in single precision may put it 2 % of a voxel off.

    Raises:
        GeometryError: as place.
    """
    if mask.grid is grid:
        return mask
    if grid.spacing_mm is None and mask.grid.shape == grid.shape:
        return replace(mask, grid=grid)
    return place(mask, grid, tolerance_mm=max(TOLERANCE_MM, 0.02 * min(grid.spacing_mm or (0.0,))))


def _lattice_match(own: Grid, grid: Grid, tolerance_mm: float) -> tuple[list[int], list[bool], list[int]]:
    """How own indices become the reference's: order of axes, which are flipped, and where index 0 then lies."""
    step = np.linalg.inv(require_affine(grid)) @ _thin_axes_from(own, grid)
    turn = np.rint(step[:3, :3]).astype(int)
    if not (
        np.array_equal(np.abs(turn).sum(axis=0), (1, 1, 1)) and np.array_equal(np.abs(turn).sum(axis=1), (1, 1, 1))
    ):
        _refuse(own, grid, f"axes {np.round(step[:3, :3], 3).tolist()} in steps of the reference")
    shift = np.rint(step[:3, 3])
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in own.shape], indexing="ij")).reshape(3, -1).T
    exact = corners @ step[:3, :3].T + step[:3, 3]
    off_mm = np.linalg.norm((exact - corners @ turn.T - shift) @ require_affine(grid)[:3, :3].T, axis=1).max()
    if off_mm > tolerance_mm:
        _refuse(own, grid, f"voxels {off_mm:.3g} mm away from the reference's")
    order = [int(np.flatnonzero(turn[axis])[0]) for axis in range(3)]
    flips = [bool(turn[axis].sum() < 0) for axis in range(3)]
    sizes = [own.shape[order[axis]] for axis in range(3)]
    offset = [int(shift[axis]) - (sizes[axis] - 1 if flips[axis] else 0) for axis in range(3)]
    return order, flips, offset


def _thin_axes_from(own: Grid, grid: Grid) -> Affine:
    """Own affine; the step along an axis of one voxel, which places nothing, is the reference's nearest one."""
    affine = require_affine(own).copy()
    columns = require_affine(grid)[:3, :3]
    directions = columns / np.linalg.norm(columns, axis=0)
    free = [0, 1, 2]
    for axis in sorted(range(3), key=lambda a: own.shape[a] == 1):
        best = max(free, key=lambda column: abs(float(directions[:, column] @ affine[:3, axis])))
        free.remove(best)
        if own.shape[axis] == 1:
            affine[:3, axis] = columns[:, best]
    return affine


def require_affine(grid: Grid) -> Affine:
    """The grid's affine, which a valid Grid always has."""
    assert grid.affine is not None  # noqa: S101
    return grid.affine


def _refuse(own: Grid, grid: Grid, got: str) -> NoReturn:
    raise GeometryError(
        f"the mask of shape {own.shape} has {got}",
        expected=f"voxels of the reference of shape {grid.shape}",
        fix="give the image that the mask was drawn on, or leave the reference out",
    )
