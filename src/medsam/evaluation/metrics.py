"""How well two masks agree: Dice, IoU, precision, recall, volume error, surface distance (NSD), 95 % Hausdorff distance.

Conventions: two empty masks agree (Dice, IoU, precision, recall and NSD 1, volume error and Hausdorff distance 0). One
empty mask agrees with nothing (Dice, IoU, precision, recall and NSD 0, Hausdorff distance infinite); the volume error
is then -1 where the found mask is empty and infinite where the expert's is. Distances are in mm where the spacing is known and in pixels otherwise. A single slice (D == 1) is
measured in 2D. Surface elements are weighted by their size, see surface.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medsam.errors import GeometryError
from medsam.evaluation.surface import Surface, find_surface
from medsam.imaging.image import Mask
from medsam.io.placement import lay_on_grid

MaskLike = Mask | np.ndarray
TOLERANCE_MM = 2.0  # paper, Methods, "Evaluation metrics"
LEGACY_DICE_FLOOR = 0.2  # the released evaluation gives NSD 0 at or below this Dice


@dataclass(frozen=True, eq=False)
class _Pair:
    first: NDArray[np.bool_]
    second: NDArray[np.bool_]
    spacing: tuple[float, ...]


def dice(a: MaskLike, b: MaskLike, *, label: int | None = None) -> float:
    """Measure the overlap of two masks, 2 |A and B| / (|A| + |B|).

    Args:
        a: Mask, or an array of any shape; non-zero is foreground.
        b: The same; a Mask of the same voxels may store them in another order.
        label: Compare this label only; None compares all foreground.

    Returns:
        0 to 1; 1 where both are empty.

    Raises:
        GeometryError: shapes or grids differ.

    Source: paper, Methods, "Evaluation metrics".
    """
    common, first, second = _voxels(a, b, label)
    return 2 * common / (first + second) if first + second else 1.0


def iou(a: MaskLike, b: MaskLike) -> float:
    """Measure the overlap of two masks, |A and B| / |A or B|.

    Args:
        a: Mask, or an array of any shape; non-zero is foreground.
        b: The same; a Mask of the same voxels may store them in another order.

    Returns:
        0 to 1; 1 where both are empty, 0 where one of them is.

    Raises:
        GeometryError: shapes or grids differ.
    """
    common, first, second = _voxels(a, b, None)
    return common / (first + second - common) if first + second else 1.0


def precision(found: MaskLike, expert: MaskLike) -> float:
    """Measure the share of the found mask that lies in the expert's, |found and expert| / |found|.

    Args:
        found: Mask, or an array of any shape; non-zero is foreground.
        expert: The same.

    Returns:
        0 to 1; 1 where both are empty, 0 where one of them is.

    Raises:
        GeometryError: shapes or grids differ.
    """
    common, size, wanted = _voxels(found, expert, None)
    return common / size if size else float(not wanted)


def recall(found: MaskLike, expert: MaskLike) -> float:
    """Measure the share of the expert's mask that was found, |found and expert| / |expert|.

    Args:
        found: Mask, or an array of any shape; non-zero is foreground.
        expert: The same.

    Returns:
        0 to 1; 1 where both are empty, 0 where one of them is.

    Raises:
        GeometryError: shapes or grids differ.
    """
    return precision(expert, found)


def volume_error(found: MaskLike, expert: MaskLike) -> float:
    """Measure how much larger the found mask is, (|found| - |expert|) / |expert|; both have voxels of one size.

    Args:
        found: Mask, or an array of any shape; non-zero is foreground.
        expert: The same.

    Returns:
        0.1 where a tenth too much was found; -1 where nothing was; 0 where both are empty; infinite where the expert's
        mask alone is empty.

    Raises:
        GeometryError: shapes or grids differ.
    """
    _, size, wanted = _voxels(found, expert, None)
    if not wanted:
        return float("inf") if size else 0.0
    return (size - wanted) / wanted


def normalized_surface_distance(
    a: MaskLike,
    b: MaskLike,
    *,
    tolerance_mm: float = TOLERANCE_MM,
    label: int | None = None,
    spacing_mm: Sequence[float] | None = None,
    legacy: bool = False,
) -> float:
    """Measure the share of both surfaces that lies within tolerance_mm of the other.

    Args:
        a: Mask, or (H, W) or (D, H, W) array; non-zero is foreground.
        b: The same, on the same grid.
        tolerance_mm: In mm; in pixels where the spacing is unknown.
        label: Compare this label only; None compares all foreground.
        spacing_mm: (z, y, x) or (y, x), for arrays; a Mask brings its own.
        legacy: As the released scripts: the spacing's axes reversed in 3D, and 0 where Dice is at most 0.2.

    Raises:
        GeometryError: shapes or grids differ, or a spacing or tolerance that is no distance.

    Source: paper, Methods, "Evaluation metrics"; Nikolov et al. 2021.
    """
    if not (np.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise GeometryError(f"tolerance_mm is {tolerance_mm}", expected="0 or more mm", fix="pass --tolerance 2")
    pair = _pair(a, b, label, spacing_mm)
    if legacy and dice(pair.first, pair.second) <= LEGACY_DICE_FLOOR:
        return 0.0
    spacing = pair.spacing[::-1] if legacy and pair.first.ndim == 3 else pair.spacing
    first, second = _surfaces(pair, spacing)
    if not len(first.sizes_N) or not len(second.sizes_N):
        return 1.0 if len(first.sizes_N) == len(second.sizes_N) else 0.0
    near_first = first.sizes_N[_distances(first, second, spacing, tolerance_mm) <= tolerance_mm].sum()
    near_second = second.sizes_N[_distances(second, first, spacing, tolerance_mm) <= tolerance_mm].sum()
    return float((near_first + near_second) / (first.sizes_N.sum() + second.sizes_N.sum()))


def hausdorff95(a: MaskLike, b: MaskLike, *, spacing_mm: Sequence[float] | None = None) -> float:
    """Measure the distance that 95 % of each surface keeps to the other: the larger of the two directions.

    Args:
        a: Mask, or (H, W) or (D, H, W) array; non-zero is foreground.
        b: The same, on the same grid.
        spacing_mm: (z, y, x) or (y, x), for arrays; a Mask brings its own.

    Returns:
        mm, or pixels where the spacing is unknown; infinite where one mask is empty.

    Raises:
        GeometryError: shapes or grids differ, or a spacing that is no distance.
    """
    pair = _pair(a, b, None, spacing_mm)
    first, second = _surfaces(pair, pair.spacing)
    if not len(first.sizes_N) or not len(second.sizes_N):
        return 0.0 if len(first.sizes_N) == len(second.sizes_N) else float("inf")
    return max(_percentile(first, second, pair.spacing), _percentile(second, first, pair.spacing))


def measure_surfaces(
    a: MaskLike, b: MaskLike, *, tolerance_mm: float = TOLERANCE_MM, legacy: bool = False,
    spacing_mm: Sequence[float] | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Measure the normalized surface distance and the 95 % Hausdorff distance at once, in half the time.

    Args:
        a: Mask, or (H, W) or (D, H, W) array; non-zero is foreground.
        b: The same, on the same grid.
        tolerance_mm: As normalized_surface_distance.
        legacy: As normalized_surface_distance, of the first.
        spacing_mm: As normalized_surface_distance.

    Raises:
        GeometryError: as both.
    """
    if legacy:
        nsd = normalized_surface_distance(a, b, tolerance_mm=tolerance_mm, legacy=True, spacing_mm=spacing_mm)
        return nsd, hausdorff95(a, b, spacing_mm=spacing_mm)
    pair = _pair(a, b, None, spacing_mm)
    first, second = _surfaces(pair, pair.spacing)
    if not len(first.sizes_N) or not len(second.sizes_N):
        both = len(first.sizes_N) == len(second.sizes_N)
        return (1.0, 0.0) if both else (0.0, float("inf"))
    there = _distances(first, second, pair.spacing, float("inf"))
    back = _distances(second, first, pair.spacing, float("inf"))
    near = first.sizes_N[there <= tolerance_mm].sum() + second.sizes_N[back <= tolerance_mm].sum()
    nsd = float(near / (first.sizes_N.sum() + second.sizes_N.sum()))
    return nsd, max(_pick_percentile(first, there), _pick_percentile(second, back))


def _voxels(a: MaskLike, b: MaskLike, label: int | None) -> tuple[int, int, int]:
    """How many voxels both masks have in common, and each of them has."""
    pair = _pair(a, b, label, None)
    sizes = (int(np.count_nonzero(mask)) for mask in (pair.first & pair.second, pair.first, pair.second))
    common, first, second = sizes
    return common, first, second


def _surfaces(pair: _Pair, spacing: tuple[float, ...]) -> tuple[Surface, Surface]:
    if pair.first.ndim not in (2, 3):
        raise GeometryError(
            f"masks of shape {pair.first.shape}", expected="(H, W) or (D, H, W)", fix="compare one image at a time"
        )
    return find_surface(pair.first, spacing), find_surface(pair.second, spacing)


def _percentile(surface: Surface, other: Surface, spacing: tuple[float, ...], share: float = 0.95) -> float:
    return _pick_percentile(surface, _distances(surface, other, spacing, float("inf")), share)


def _pick_percentile(surface: Surface, distances: NDArray[np.float64], share: float = 0.95) -> float:
    order = np.argsort(distances, kind="stable")
    covered = np.cumsum(surface.sizes_N[order]) / surface.sizes_N.sum()
    return float(distances[order[min(int(np.searchsorted(covered, share)), len(order) - 1)]])


def _distances(surface: Surface, other: Surface, spacing: tuple[float, ...], limit: float) -> NDArray[np.float64]:
    """Distance from each element to the nearest of the other surface; infinite beyond the limit."""
    tree = cKDTree(other.cells_NK * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
    margin = 1e-6 * min(spacing)  # the tree's bound is exclusive
    _, nearest = tree.query(surface.cells_NK * np.asarray(spacing), distance_upper_bound=limit + margin)
    distances = np.full(len(nearest), np.inf)
    found = nearest < len(other.cells_NK)
    # From whole lattice steps, so that a distance of exactly the tolerance is not lost to rounding.
    steps = surface.cells_NK[found] - other.cells_NK[nearest[found]]
    distances[found] = np.sqrt(((steps * np.asarray(spacing)) ** 2).sum(axis=1))
    return distances


def _pair(a: MaskLike, b: MaskLike, label: int | None, spacing_mm: Sequence[float] | None) -> _Pair:
    if isinstance(a, Mask) and isinstance(b, Mask) and _apart(a, b):
        b = lay_on_grid(b, a.grid)  # the same voxels, stored in another order or cut otherwise
    arrays = [m.labels if isinstance(m, Mask) else np.asarray(m) for m in (a, b)]
    if {array.ndim for array in arrays} == {2, 3}:
        arrays = [array[0] if array.ndim == 3 and len(array) == 1 else array for array in arrays]
    if arrays[0].shape != arrays[1].shape:
        raise GeometryError(
            f"masks of shape {arrays[0].shape} and {arrays[1].shape}",
            expected="the same shape",
            fix="bring both masks onto one grid",
        )
    own = next((m.grid.spacing_mm for m in (a, b) if isinstance(m, Mask) and m.grid.spacing_mm is not None), None)
    spacing = spacing_mm if spacing_mm is not None else own
    first, second = (array == label if label is not None else array.astype(bool, copy=False) for array in arrays)
    if first.ndim == 3 and first.shape[0] == 1:
        first, second = first[0], second[0]
    return _Pair(first, second, _check_spacing(spacing, first.ndim))


def _apart(a: Mask, b: Mask) -> bool:
    """Whether both masks have a place in the patient, and not the same one."""
    placed = a.grid.spacing_mm is not None and b.grid.spacing_mm is not None
    return placed and not a.grid.same_as(b.grid)


def _check_spacing(spacing: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    if spacing is None:
        return (1.0,) * axes
    values = tuple(float(s) for s in spacing)
    values = values[1:] if len(values) == 3 and axes == 2 else values
    if len(values) != axes or not all(np.isfinite(v) and v > 0 for v in values):
        raise GeometryError(
            f"spacing_mm is {tuple(spacing)}",
            expected=f"{axes} positive mm, axes as the array's",
            fix="pass (z, y, x), or (y, x) for a slice",
        )
    return values
