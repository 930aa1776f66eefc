"""Grid, Image and Mask: the values that travel. Frozen, and valid once constructed.

World coordinates are DICOM patient coordinates in mm: LPS, x to the patient's left, y to posterior, z to superior.
Array axes are (z, y, x), called (D, H, W); every geometry tuple follows that order. 2D images have D == 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError, IntensityError, PromptError
from medsam.imaging.modality import Modality, Window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Affine = NDArray[np.float64]
AXES = {"axial": 2, "coronal": 1, "sagittal": 0}  # name -> LPS world axis the slices are stacked along


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an array lie in the patient.

    Args:
        shape: (D, H, W), each at least 1.
        spacing_mm: (z, y, x) distance between voxel centres in mm; None where the file does not say (a PNG).
        affine: (4, 4), maps (z, y, x, 1) array indices to LPS mm. Columns may be oblique or sheared, not degenerate.
            Left out, slices are axial: z to superior, y to posterior, x to the left. With spacing_mm left out, the
            spacing is the length of its columns.

    Raises:
        GeometryError: a size below 1, a spacing that is not positive, a degenerate affine, or the two disagree.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None = None
    affine: Affine | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"shape is {self.shape}", expected="(D, H, W), each at least 1", fix="check the file")
        spacing = self.spacing_mm
        if spacing is not None:
            if len(spacing) != 3 or not all(np.isfinite(spacing)) or min(spacing) <= 0:
                raise GeometryError(
                    f"spacing_mm is {self.spacing_mm}", expected="three positive mm", fix="pass --spacing"
                )
            spacing = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        affine = self._checked_affine(spacing)
        if spacing is None and self.affine is not None:
            z, y, x = np.linalg.norm(affine[:3, :3], axis=0)
            spacing = (float(z), float(y), float(x))
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing_mm", spacing)
        object.__setattr__(self, "affine", affine)

    def _checked_affine(self, spacing: tuple[float, ...] | None) -> Affine:
        if self.affine is None:
            upright = np.zeros((4, 4))
            upright[2, 0], upright[1, 1], upright[0, 2] = spacing or (1.0, 1.0, 1.0)
            upright[3, 3] = 1.0
            return upright
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GeometryError(
                f"affine is {affine.tolist()}",
                expected="a finite (4, 4) ending in 0 0 0 1",
                fix="check the file's geometry",
            )
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
            raise GeometryError(
                f"affine is {affine.tolist()}", expected="three independent axes", fix="check the file's geometry"
            )
        if spacing is not None and not np.allclose(lengths, spacing, rtol=1e-3, atol=1e-4):
            raise GeometryError(
                f"spacing_mm is {spacing} but the affine's axes are {lengths.tolist()} mm",
                expected="the same spacing in both",
                fix="pass only one of them",
            )
        return affine

    def slice_at(self, index: int) -> Grid:
        """The grid of slice `index` alone, at its place in the patient."""
        return self.cut(((index, index + 1), (0, self.shape[1]), (0, self.shape[2])))

    def cut(self, bounds: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> Grid:
        """The grid of a part, at its place in the patient.

        Args:
            bounds: Half-open along each axis.
        """
        (z, z1), (y, y1), (x, x1) = bounds
        shape = (z1 - z, y1 - y, x1 - x)
        if self.spacing_mm is None:
            return Grid(shape)
        affine = np.array(self.affine)
        affine[:3, 3] = self.to_world(np.array([[z, y, x]]))[0]
        return Grid(shape, affine=affine)

    def to_world(self, index_N3: np.ndarray) -> NDArray[np.float64]:
        """Move (N, 3) voxel indices (z, y, x) to (N, 3) LPS mm (x, y, z)."""
        index_N3 = np.asarray(index_N3, dtype=np.float64).reshape(-1, 3)
        world_N3: NDArray[np.float64] = index_N3 @ self._axes.T + self._matrix[:3, 3]
        return world_N3

    def to_index(self, world_N3: np.ndarray) -> NDArray[np.float64]:
        """Move (N, 3) LPS mm (x, y, z) to (N, 3) fractional voxel indices (z, y, x)."""
        world_N3 = np.asarray(world_N3, dtype=np.float64).reshape(-1, 3)
        index_N3 = np.linalg.solve(self._axes, (world_N3 - self._matrix[:3, 3]).T).T.astype(np.float64)
        return index_N3

    @property
    def _matrix(self) -> Affine:
        assert self.affine is not None  # noqa: S101 - __post_init__ always sets it
        return self.affine

    @property
    def _axes(self) -> Affine:
        return self._matrix[:3, :3]

    @property
    def orientation(self) -> str:
        """Anatomical directions of increasing z, y, x index, as in "SPL"; letters from R/L, A/P, I/S."""
        letters = ("RL", "AP", "IS")
        rest, code = [0, 1, 2], ["", "", ""]
        for axis in np.argsort(-np.abs(self._axes / np.linalg.norm(self._axes, axis=0)).max(axis=0)):
            world = max(rest, key=lambda w: abs(self._axes[w, axis]))
            rest.remove(world)
            code[axis] = letters[world][int(self._axes[world, axis] > 0)]
        return "".join(code)

    def find_axis(self, plane: str) -> int:
        """Array axis (0, 1 or 2) along which slices of a plane are stacked: axial, coronal or sagittal."""
        if plane not in AXES:
            raise GeometryError(f"plane is {plane!r}", expected=f"one of {', '.join(AXES)}", fix="choose one of them")
        pair = "IS" if plane == "axial" else "AP" if plane == "coronal" else "RL"
        return next(i for i, letter in enumerate(self.orientation) if letter in pair)

    def max_distance_mm(self, other: Grid) -> float:
        """Largest distance in mm between the same corner voxel of two grids; infinite where shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij")).reshape(3, -1).T
        return float(np.linalg.norm(self.to_world(corners) - other.to_world(corners), axis=1).max())

    def same_as(self, other: Grid, tolerance_mm: float = 0.01) -> bool:
        """Whether two grids have the same shape and every voxel at the same place, within tolerance_mm."""
        return self.max_distance_mm(other) <= tolerance_mm


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """A 2D or 3D image on its grid.

    Args:
        values: (D, H, W) numeric, or (D, H, W, 3) RGB; stored values in the modality's unit (CT: HU), or uint8 in
            [0, 255] once normalized.
        grid: Its place in the patient; shape (D, H, W).
        modality: What made it; None where the file does not say.
        window: The window the file itself carries (DICOM WindowCenter and WindowWidth), None without one.
        normalized: True once intensities are the uint8 [0, 255] that models take.

    Raises:
        GeometryError: values and grid disagree in shape.
        IntensityError: values are not numeric.
    """

    values: np.ndarray
    grid: Grid
    modality: Modality | None = None
    window: Window | None = None
    normalized: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", np.asanyarray(self.values))  # a memory map stays one
        shape = self.values.shape
        if shape[:3] != self.grid.shape or shape[3:] not in ((), (3,)):
            raise GeometryError(
                f"values have shape {shape}",
                expected=f"{self.grid.shape} or {(*self.grid.shape, 3)}",
                fix="pass (D, H, W) or (D, H, W, 3)",
            )
        if self.values.dtype.kind not in "buif":
            raise IntensityError(f"values have dtype {self.values.dtype}", expected="numbers", fix="convert them first")
        if self.normalized and self.values.dtype != np.uint8:
            raise IntensityError(
                f"normalized values have dtype {self.values.dtype}", expected="uint8", fix="call medsam.normalize"
            )

    @property
    def is_rgb(self) -> bool:
        """Whether the image has three colour channels."""
        return self.values.ndim == 4

    def slice_rgb(self, index: int) -> NDArray[np.uint8]:
        """Give one slice as the uint8 (H, W, 3) that Predictor.embed takes; grey is repeated three times.

        Raises:
            PromptError: the slice is not there.
            IntensityError: values are not uint8 yet.
        """
        if not 0 <= index < self.grid.shape[0]:
            raise PromptError(
                f"slice is {index}", expected=f"0 to {self.grid.shape[0] - 1}", fix="choose a slice of the image"
            )
        if self.values.dtype != np.uint8:
            raise IntensityError(
                f"values have dtype {self.values.dtype}",
                expected="uint8 in [0, 255]",
                fix="call medsam.normalize first",
            )
        plane = self.values[index]
        return plane if self.is_rgb else np.repeat(plane[:, :, None], 3, axis=2)

    def __repr__(self) -> str:
        """One line for a notebook: shape, kind of values, spacing and modality."""
        kind = f"{'RGB ' if self.is_rgb else ''}{self.values.dtype}{' normalized' if self.normalized else ''}"
        modality = self.modality.value if self.modality is not None else "modality unknown"
        return f"Image({_describe_grid(self.grid)}, {kind}, {modality})"

    def show(self, index: int | None = None, *, plane: str | None = None, mask: Mask | None = None) -> Figure:
        """Draw one slice with matplotlib.

        Args:
            index: Which slice; the middle one without it.
            plane: "axial", "coronal" or "sagittal"; the slices as stored without it.
            mask: Labels on the same grid, drawn over it.

        Returns:
            The figure, which a notebook shows; save it with figure.savefig(path).

        Raises:
            GeometryError: an unknown plane, or a mask on another grid. PromptError: the slice is not there.
        """
        from medsam.imaging.showing import show_slice

        return show_slice(self, mask, index, plane)

    def slice_at(self, index: int) -> Image:
        """Slice `index` alone, at its place in the patient."""
        return replace(self, values=self.values[index : index + 1], grid=self.grid.slice_at(index))

    def move_axis(self, axis: int) -> Image:
        """The same image with another array axis first, so that its slices become the slices; affine kept true."""
        values = np.moveaxis(self.values, axis, 0)
        return replace(self, values=values, grid=move_axis(self.grid, axis))


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """A label map on a grid.

    Args:
        labels: (D, H, W) integer, 0 is background.
        grid: Its place in the patient; shape (D, H, W).
        names: Label id to name, for the ids that have one.
        colors: Label id to (r, g, b) in 0..255, for the ids that have one.
        codes: Label id to (scheme, value, meaning), for the ids whose coded meaning was stated.

    Raises:
        GeometryError: labels are not (D, H, W) integers, are negative, or disagree with the grid.
    """

    labels: np.ndarray
    grid: Grid
    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    codes: Mapping[int, tuple[str, str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        labels = labels.astype(np.uint8) if labels.dtype == bool else labels
        if labels.dtype.kind not in "ui":
            raise GeometryError(
                f"labels have dtype {labels.dtype}", expected="integers", fix="round and cast them first"
            )
        if labels.shape != self.grid.shape:
            raise GeometryError(
                f"labels have shape {labels.shape}",
                expected=f"{self.grid.shape}",
                fix="use a mask on the image's own grid",
            )
        if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
            raise GeometryError(
                f"the smallest label is {labels.min()}", expected="0 or more", fix="renumber the labels"
            )
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "names", MappingProxyType({int(k): str(v) for k, v in self.names.items()}))
        object.__setattr__(self, "colors", MappingProxyType({int(k): tuple(v) for k, v in self.colors.items()}))
        object.__setattr__(self, "codes", MappingProxyType({int(k): tuple(v) for k, v in self.codes.items()}))

    def __getstate__(self) -> dict[str, object]:
        """Plain dicts instead of read-only views, so that masks cross process borders."""
        views = {"names": dict(self.names), "colors": dict(self.colors), "codes": dict(self.codes)}
        return {"labels": self.labels, "grid": self.grid, **views}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Rebuild the read-only views."""
        for key, value in state.items():
            object.__setattr__(self, key, MappingProxyType(value) if isinstance(value, dict) else value)

    @property
    def ids(self) -> tuple[int, ...]:
        """The label ids present, ascending, without background."""
        return tuple(int(i) for i in np.unique(self.labels) if i)

    def slice_at(self, index: int) -> Mask:
        """Slice `index` alone, at its place in the patient."""
        return replace(self, labels=self.labels[index : index + 1], grid=self.grid.slice_at(index))

    def __repr__(self) -> str:
        """One line for a notebook: shape, spacing, and the labels with their names and voxels."""
        ids, counts = np.unique(self.labels, return_counts=True)
        parts = [
            f"{i}{f' {self.names[i]}' if i in self.names else ''}: {n} voxels"
            for i, n in zip(ids.tolist(), counts.tolist(), strict=True)
            if i
        ]
        more = f", and {len(parts) - 8} more labels" if len(parts) > 8 else ""
        return f"Mask({_describe_grid(self.grid)}, {', '.join(parts[:8]) or 'empty'}{more})"

    def show(self, index: int | None = None, *, plane: str | None = None) -> Figure:
        """Draw one slice with matplotlib, each label in its colour; the slice with most foreground without an index.

        Args:
            index: Which slice.
            plane: "axial", "coronal" or "sagittal"; the slices as stored without it.

        Returns:
            The figure, as from Image.show, which takes a mask too.

        Raises:
            GeometryError: an unknown plane. PromptError: the slice is not there.
        """
        from medsam.imaging.showing import show_slice

        return show_slice(None, self, index, plane)

    def move_axis(self, axis: int) -> Mask:
        """The same mask with another array axis first; affine kept true."""
        return replace(self, labels=np.moveaxis(self.labels, axis, 0), grid=move_axis(self.grid, axis))

    def restore_axis(self, axis: int) -> Mask:
        """Undo move_axis(axis)."""
        order = [1, 2]
        order.insert(axis, 0)
        grid = Grid(tuple(self.grid.shape[i] for i in order), affine=_permuted(self.grid, order), spacing_mm=None)  # type: ignore[arg-type]
        if self.grid.spacing_mm is None:
            grid = Grid(grid.shape)
        return replace(self, labels=np.moveaxis(self.labels, 0, axis), grid=grid)


def _describe_grid(grid: Grid) -> str:
    size = " x ".join(str(n) for n in grid.shape)
    spacing = "spacing unknown"
    if grid.spacing_mm is not None:
        spacing = " x ".join(f"{s:.4g}" for s in grid.spacing_mm) + " mm"
    return f"{size}, {spacing}"


def move_axis(grid: Grid, axis: int) -> Grid:
    """Grid of an array whose axis was moved to the front (np.moveaxis(values, axis, 0))."""
    order = [axis, *(i for i in range(3) if i != axis)]
    shape = (grid.shape[order[0]], grid.shape[order[1]], grid.shape[order[2]])
    if grid.spacing_mm is None:
        return Grid(shape)
    return Grid(shape, affine=_permuted(grid, order))


def find_slice_axis(grid: Grid, plane: str | int) -> int:
    """The array axis across the slices of a plane: "axial", "coronal", "sagittal", or the axis itself, 0 to 2.

    Raises:
        GeometryError: an unknown name.
        PromptError: no such axis.
    """
    if isinstance(plane, str):
        return grid.find_axis(plane)
    if plane not in (0, 1, 2):
        raise PromptError(f"plane is {plane}", expected="axial, coronal, sagittal, or an axis 0 to 2", fix="choose one")
    return int(plane)


def _permuted(grid: Grid, order: list[int]) -> Affine:
    assert grid.affine is not None  # noqa: S101
    return grid.affine[:, [*order, 3]]
