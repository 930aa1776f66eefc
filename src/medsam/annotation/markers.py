"""Sparse markers: the long and short axis lines a reader draws on some slices, and the rectangle that covers them.

Slices are those along the first axis of the array; for another plane move that axis to the front first. Points are x y
in slice pixels, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import GeometryError, PromptError
from medsam.evaluation.targets import EIGHT
from medsam.imaging.boxes import Box
from medsam.imaging.image import Grid, Mask, move_axis
from medsam.io.placement import lay_on_grid

OUTSIDE_PX = 0.5  # a point in the outermost half pixel lies inside the image
DRIFT = 0.25  # of a rectangle's longer side: how far an object may wander between marked slices beyond overlapping


@dataclass(frozen=True)
class Marker:
    """Lines drawn on one slice around one object.

    Args:
        label: Id of the object, 1 or more.
        slice: Index of the slice.
        points_xy: Ends of the lines, or the corners of a drawn rectangle, in slice pixels.
        name: Of the object, where the file gives one.
    """

    label: int
    slice: int
    points_xy: tuple[tuple[float, float], ...]
    name: str | None = None

    def __post_init__(self) -> None:
        if self.label < 1:
            raise PromptError(f"marker label is {self.label}", expected="1 or more", fix="renumber the objects")
        if not self.points_xy or not np.isfinite(np.array(self.points_xy)).all():
            raise PromptError(
                f"marker of object {self.label}: points {self.points_xy}", expected="finite x,y", fix="correct it"
            )

    @property
    def box(self) -> Box:
        """The rectangle that covers the lines (paper, Human annotation study, step 1)."""
        xs, ys = zip(*self.points_xy, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def check_markers(markers: Sequence[Marker], grid: Grid) -> None:
    """Refuse markers outside the scan.

    Raises:
        PromptError: no markers, or some that lie outside; the message names them.
    """
    if not markers:
        raise PromptError("no markers", expected="at least one line on one slice", fix="draw the long and short axis")
    depth, height, width = grid.shape
    outside = []
    for marker in markers:
        x0, y0, x1, y1 = marker.box
        low, high_x, high_y = -OUTSIDE_PX - 1e-6, width - 1 + OUTSIDE_PX + 1e-6, height - 1 + OUTSIDE_PX + 1e-6
        if not (0 <= marker.slice < depth and x0 >= low and y0 >= low and x1 <= high_x and y1 <= high_y):
            outside.append(
                f"object {marker.label} on slice {marker.slice} at x {x0:.6g} to {x1:.6g}, y {y0:.6g} to {y1:.6g}"
            )
    if outside:
        more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
        raise PromptError(
            f"markers outside the scan: {'; '.join(outside[:3])}{more}",
            expected=f"slices 0 to {depth - 1}, x 0 to {width - 1}, y 0 to {height - 1}",
            fix="check that the markers belong to this scan and that its coordinate system is named rightly",
        )


def markers_from_mask(mask: Mask, grid: Grid, *, objects: Literal["labels", "strokes"] = "labels") -> list[Marker]:
    """Read the strokes painted in a label volume.

    Args:
        mask: Strokes; every label id is one object.
        grid: Of the scan.
        objects: "labels": one object per label id, all its strokes on a slice under one rectangle. "strokes": every
            stroke is a marker of its own; strokes that overlap from one marked slice to the next are one object.

    Raises:
        GeometryError: the volume is not on the scan's grid.
        PromptError: the volume is empty.
    """
    if not mask.grid.same_as(grid):
        raise GeometryError(
            f"a marker volume of shape {mask.grid.shape}, up to {mask.grid.max_distance_mm(grid):.3g} mm off the scan",
            expected=f"the scan's own grid {grid.shape}",
            fix="draw the markers on this scan, or resample them onto it",
        )
    markers: list[Marker] = []
    for index, plane in enumerate(mask.labels):
        for label in np.unique(plane):
            if label:
                markers += _strokes(plane == label, int(label), index, mask.names, split=objects == "strokes")
    if not markers:
        raise PromptError("the marker volume is empty", expected="painted lines", fix="draw the long and short axis")
    return link_markers(markers) if objects == "strokes" else markers


def _strokes(
    mask_HW: NDArray[np.bool_], label: int, index: int, names: Mapping[int, str], *, split: bool
) -> list[Marker]:
    components, count = ndimage.label(mask_HW, structure=EIGHT) if split else (mask_HW.astype(np.int32), 1)
    markers = []
    for number in range(1, count + 1):
        rows, columns = np.nonzero(components == number)
        corners = ((float(columns.min()), float(rows.min())), (float(columns.max()), float(rows.max())))
        markers.append(Marker(label, index, corners, names.get(label)))
    return markers


def link_markers(markers: Sequence[Marker]) -> list[Marker]:
    """Number single lines as objects: lines that touch on a slice, then rectangles that overlap on the next marked one.

    Args:
        markers: One per line; lines of different labels are never joined.

    Returns:
        One marker per object and slice, labels 1 to N in order of first appearance.
    """
    linked: list[Marker] = []
    latest: dict[int, Marker] = {}  # new label -> its marker on the last marked slice
    origin: dict[int, int] = {}
    for index in sorted({m.slice for m in markers}):
        taken: set[int] = set()
        for marker in _merged([m for m in markers if m.slice == index]):
            shared = {
                k: _overlap(_grown(latest[k].box), _grown(marker.box))
                for k in latest
                if k not in taken and origin[k] == marker.label
            }
            label = max(shared, key=lambda k: shared[k]) if any(shared.values()) else len(latest) + 1
            taken.add(label)
            origin[label] = marker.label
            latest[label] = replace(marker, label=label)
            linked.append(latest[label])
    return linked


def _merged(markers: list[Marker]) -> list[Marker]:
    """Join the lines of one slice whose rectangles overlap, until none does."""
    merged: list[Marker] = []
    for marker in markers:
        current = marker
        while True:
            touching = [m for m in merged if m.label == current.label and _overlap(m.box, current.box) > 0]
            if not touching:
                break
            merged = [m for m in merged if m not in touching]
            current = replace(current, points_xy=sum((m.points_xy for m in touching), current.points_xy))
        merged.append(current)
    return merged


def _grown(box: Box) -> Box:
    room = DRIFT * max(box[2] - box[0], box[3] - box[1])
    return box[0] - room, box[1] - room, box[2] + room, box[3] + room


def _overlap(a: Box, b: Box) -> float:
    """Shared area in pixels; a rectangle is taken as one pixel larger, so that a flat line has an area."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(width, 0.0) * max(height, 0.0)


def marker_from_world(points_N3: np.ndarray, grid: Grid, label: int, name: str | None = None) -> Marker:
    """Bring a line drawn in patient coordinates onto the slice it lies on.

    Args:
        points_N3: (N, 3) LPS mm.
        grid: Of the scan, slices first.
        label: Id of the object.
        name: Of the object.

    Raises:
        PromptError: the ends lie on different slices.
    """
    index_N3 = grid.to_index(points_N3)
    depth_span = float(np.ptp(index_N3[:, 0]))
    if depth_span > 1 + 1e-6:
        raise PromptError(
            f"a line of object {label} runs from slice {index_N3[0, 0]:.1f} to slice {index_N3[-1, 0]:.1f}",
            expected="both ends on one slice",
            fix="draw it on one slice, or choose the plane it was drawn in with --plane",
        )
    points = tuple((float(x), float(y)) for y, x in index_N3[:, 1:])
    return Marker(label, int(np.floor(index_N3[:, 0].mean() + 0.5)), points, name)


def collect_markers(markers: Mask | np.ndarray | Sequence[Marker], grid: Grid, axis: int) -> list[Marker]:
    """The markers of a scan, however they were given.

    Args:
        markers: A label volume of the scan's voxels in any order, an array on its grid, or markers already.
        grid: Of the scan.
        axis: The array axis that the slices marked are stacked along.

    Raises:
        PromptError: something else. GeometryError: a mask on another grid.
    """
    if isinstance(markers, np.ndarray):
        markers = Mask(markers, grid)
    if isinstance(markers, Mask):
        return markers_from_mask(lay_on_grid(markers, grid).move_axis(axis), move_axis(grid, axis))
    if not isinstance(markers, Sequence) or not all(isinstance(marker, Marker) for marker in markers):
        raise PromptError(
            f"markers are {type(markers).__name__}",
            expected="a Mask of painted lines, or a list of Marker",
            fix="pass medsam.read_mask(path)",
        )
    return list(markers)
