"""What a client gives of a server's cases, and how it is read from the wire.

Shape legend: H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError
from medsam.imaging.image import Grid, Mask, find_slice_axis
from medsam.imaging.modality import Modality, Window

Ends = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class RemoteCase:
    """A scan of a server's project.

    Args:
        id: Opaque.
        number: From 1.
        shape: (D, H, W) as stored.
        status: How far it is.
    """

    id: str
    number: int
    shape: tuple[int, int, int]
    status: Literal["new", "in work", "done", "reviewed"]


@dataclass(frozen=True, eq=False)
class RemoteGeometry:
    """Where a case lies in the patient and what its values mean.

    Args:
        grid: Of the stored voxels.
        modality: What made it.
        window: What a CT is shown with.
        axes: "stored", "axial", "coronal" and "sagittal" to the array axis of their slices.
    """

    grid: Grid
    modality: Modality | None
    window: Window | None
    axes: Mapping[str, int] = field(default_factory=dict)

    def plane_name(self, plane: str | int) -> str:
        """The server's name of a plane; 0 is "stored", another array axis the plane that is stacked along it.

        Raises:
            PromptError: there is no such plane.
        """
        if plane in self.axes:
            return str(plane)
        axis = find_slice_axis(self.grid, plane)
        if axis == 0:
            return "stored"
        return next(name for name, own in self.axes.items() if own == axis)


@dataclass(frozen=True)
class RemoteEmbedding:
    """A slice of a case that the server embeds; decode it as often as you like."""

    case: RemoteCase
    plane: str
    slice: int


@dataclass(frozen=True, eq=False)
class RemoteAnnotation:
    """A mask made from markers.

    Args:
        mask: The whole state that was saved.
        scores: {label: {slice: score}}.
    """

    mask: Mask
    scores: Mapping[int, Mapping[int, float]]


@dataclass(frozen=True)
class RemoteMeasurement:
    """Size of an object and the stored values inside it; None is what the scan does not tell.

    Args:
        label: Of the object.
        name: Of the object.
        component: Number of the part, 0 for the whole.
        voxels: How many.
        volume_ml: Of these.
        long_axis_mm: Longest diameter in a slice.
        short_axis_mm: Longest perpendicular to it.
        long_axis_px: The same in pixels, where the spacing is unknown.
        short_axis_px: The same in pixels.
        slice: Where they lie.
        long_axis_xy: Its ends in slice pixels.
        short_axis_xy: The other's ends.
        mean: Of the stored values.
        spread: Their standard deviation.
        unit: Of both.
    """

    label: int
    name: str | None
    component: int
    voxels: int
    volume_ml: float | None
    long_axis_mm: float | None
    short_axis_mm: float | None
    long_axis_px: float | None
    short_axis_px: float | None
    slice: int
    long_axis_xy: Ends
    short_axis_xy: Ends
    mean: float | None
    spread: float | None
    unit: Literal["HU"] | None


def make_case(row: Mapping[str, Any]) -> RemoteCase:
    """A case from the wire."""
    depth, height, width = row["shape"]
    return RemoteCase(row["id"], row["number"], (depth, height, width), row["status"])


def make_geometry(row: Mapping[str, Any]) -> RemoteGeometry:
    """A case's geometry from the wire."""
    depth, height, width = row["shape"]
    stored = row["planes"]["stored"]["spacing_mm"]
    shape = (depth, height, width)
    grid = Grid(shape) if stored is None else Grid(shape, affine=np.array(row["affine"]))
    modality = None if row["modality"] is None else Modality(row["modality"])
    bounds = row["window"] if modality is Modality.CT else None
    window = None if bounds is None else Window(bounds[1] - bounds[0], (bounds[0] + bounds[1]) / 2)
    return RemoteGeometry(grid, modality, window, {name: plane["axis"] for name, plane in row["planes"].items()})


def make_measurement(row: Mapping[str, Any]) -> RemoteMeasurement:
    """A measurement from the wire."""
    told = {one.name: row[one.name] for one in fields(RemoteMeasurement)}
    for name in ("long_axis_xy", "short_axis_xy"):
        told[name] = tuple(tuple(end) for end in row[name])
    return RemoteMeasurement(**told)


def unpack_runs(mask: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The mask (H, W) of a slice from its runs: start and length, one after the other."""
    flat_HW = np.zeros(mask["height"] * mask["width"], bool)
    for start, length in zip(mask["runs"][::2], mask["runs"][1::2], strict=True):
        flat_HW[start : start + length] = True
    return flat_HW.reshape(mask["height"], mask["width"])  # (H, W)


def nest_points(
    points: Sequence[Any] | None, point_labels: Sequence[Any] | None
) -> tuple[list[list[list[float]]], list[list[int]]]:  # fmt: skip
    """Points and labels as one list for each object; flat ones are those of a single object.

    Raises:
        PromptError: as many labels as points are not there.
    """
    if points is None:
        return [], []
    flat = len(points) > 0 and np.ndim(points[0]) == 1
    lists = [points] if flat else list(points)
    signs = [point_labels] if flat else list(point_labels or [])
    spots = [[[float(x), float(y)] for x, y in one] for one in lists]
    told = [[int(sign) for sign in one or []] for one in signs]
    if [len(one) for one in spots] != [len(one) for one in told]:
        raise PromptError("points without a label each", expected="1 (inside) or 0 (outside) for each", fix="pass both")
    return spots, told
