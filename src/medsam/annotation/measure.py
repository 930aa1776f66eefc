"""Size of the objects of a mask: volume, longest diameter in a plane and the perpendicular one (RECIST)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import GeometryError, PromptError
from medsam.imaging.axes import Axes, longest_of, measure_axes
from medsam.imaging.cleaning import EVERY_NEIGHBOUR
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.modality import Modality


@dataclass(frozen=True)
class Measurement:
    """One object measured.

    Args:
        label: Its id.
        name: Of the label, where the mask has one.
        component: Number of the connected part, 0 where the label was measured whole.
        voxels: How many.
        volume_mm3: Of these voxels; a single slice counts with the slice distance the file gives. None for a picture,
            whose pixels have an area only.
        volume_ml: The same.
        long_axis_mm: Longest diameter in any slice of the plane, between outer corners of pixels.
        short_axis_mm: Longest diameter perpendicular to it on that slice.
        slice: Index of that slice.
        position_mm: Of that slice, along its normal from the origin of the patient frame (LPS), towards left, posterior
            or superior; for upright axial slices the z of DICOM. The same on every grid that holds the slice.
        long_axis_xy: Its ends in slice pixels.
        short_axis_xy: The other's ends.
        area_mm2: Of a picture whose pixels have a size but whose slice has no thickness.
    """

    label: int
    name: str | None
    component: int
    voxels: int
    volume_mm3: float | None
    volume_ml: float | None
    long_axis_mm: float
    short_axis_mm: float
    slice: int
    position_mm: float | None
    long_axis_xy: tuple[tuple[float, float], tuple[float, float]]
    short_axis_xy: tuple[tuple[float, float], tuple[float, float]]
    area_mm2: float | None = None


def measure(mask: Mask, *, components: bool = False, plane: str = "axial", min_voxels: int = 1) -> list[Measurement]:
    """Measure every label of a mask, or every connected part of every label.

    Args:
        mask: With known spacing.
        components: One row for each connected part (voxels that touch by a face, edge or corner), largest first.
        plane: Of the diameters: axial, coronal or sagittal; a single slice is measured as it is.
        min_voxels: Smaller objects are left out.

    Raises:
        GeometryError: the mask has no spacing.
        PromptError: the mask is empty.
    """
    if mask.grid.spacing_mm is None:
        raise GeometryError("a mask without spacing", expected="mm per voxel", fix="pass --spacing z,y,x, or use NIfTI")
    if not mask.ids:
        raise PromptError("the mask is empty", expected="a label", fix="check that this is the right mask")
    assert mask.grid.affine is not None  # noqa: S101 - always set
    voxel_mm3 = float(abs(np.linalg.det(mask.grid.affine[:3, :3])))
    flat = mask.grid.shape[0] == 1
    sliced = mask if flat else mask.move_axis(mask.grid.find_axis(plane))
    spacing = sliced.grid.spacing_mm
    assert spacing is not None  # noqa: S101 - move_axis keeps it
    normal = _normal(sliced.grid)
    rows = []
    for label in mask.ids:
        for component, (corner, part) in enumerate(_parts(sliced.labels == label, split=components), start=1):
            voxels = int(np.count_nonzero(part))
            if voxels < min_voxels:
                continue
            index, axes = _largest(part, (spacing[1], spacing[2]))
            position_mm = float(normal @ sliced.grid.to_world(np.array([[index + corner[0], 0, 0]]))[0])
            rows.append(
                Measurement(
                    label=label, name=mask.names.get(label), component=component if components else 0, voxels=voxels,
                    volume_mm3=voxels * voxel_mm3, volume_ml=voxels * voxel_mm3 / 1000, long_axis_mm=axes.long,
                    short_axis_mm=axes.short, slice=index + corner[0], position_mm=position_mm, long_axis_xy=_moved(axes.long_xy, corner),
                    short_axis_xy=_moved(axes.short_xy, corner),
                )
            )  # fmt: skip
    return rows


@dataclass(frozen=True)
class Intensity:
    """Values of the scan inside an object.

    Args:
        mean: Of the stored values.
        spread: Their standard deviation.
        unit: "HU" where the scan is a CT whose values are Hounsfield units; None where values have no unit.
    """

    mean: float
    spread: float
    unit: Literal["HU"] | None


def measure_intensity(image: Image, mask: Mask) -> dict[int, Intensity]:
    """Mean and spread of a scan inside each label; nothing for a colour picture, whose values are no measurement.

    Args:
        image: As stored, not normalized.
        mask: Of the same voxels.
    """
    if image.is_rgb:
        return {}
    hounsfield = image.modality is Modality.CT and image.values.dtype != np.uint8  # 8 bits hold a window of it
    found: dict[int, Intensity] = {}
    for label in mask.ids:
        values = image.values[mask.labels == label].astype(np.float64)
        found[label] = Intensity(float(values.mean()), float(values.std()), "HU" if hounsfield else None)
    return found


def _normal(grid: Grid) -> NDArray[np.float64]:
    """Unit normal of the slices in LPS, its largest part positive, whichever way they are stored."""
    assert grid.affine is not None  # noqa: S101 - always set
    normal = np.cross(grid.affine[:3, 2], grid.affine[:3, 1])
    turned: NDArray[np.float64] = normal / np.linalg.norm(normal) * np.sign(normal[np.argmax(np.abs(normal))])
    return turned


def _parts(mask: NDArray[np.bool_], *, split: bool) -> list[tuple[tuple[int, int, int], NDArray[np.bool_]]]:
    """First corner and cropped mask of the whole, or of every connected part, largest first."""
    numbers, count = ndimage.label(mask, structure=EVERY_NEIGHBOUR) if split else (mask.astype(np.uint8), 1)
    parts = []
    for number, where in enumerate(ndimage.find_objects(numbers, max_label=count), start=1):
        corner = (where[0].start, where[1].start, where[2].start)
        parts.append((corner, numbers[where] == number))
    return sorted(parts, key=lambda part: -int(np.count_nonzero(part[1])))


def _largest(part: NDArray[np.bool_], spacing_yx: tuple[float, float]) -> tuple[int, Axes]:
    """The slice with the longest diameter, and its axes; the first of equals."""
    best, longest = -1, -1.0
    for index, plane in enumerate(part):
        rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        diagonal = np.hypot((np.ptp(rows) + 1) * spacing_yx[0], (np.ptp(columns) + 1) * spacing_yx[1])
        if diagonal <= longest:  # it cannot hold a longer one
            continue
        length = longest_of(plane, spacing_yx, corners=True)
        if length > longest + 1e-9:
            best, longest = index, length
    return best, measure_axes(part[best], spacing_yx, corners=True)


def _moved(
    ends: tuple[tuple[float, float], tuple[float, float]], corner: tuple[int, int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    (x0, y0), (x1, y1) = ends
    return (x0 + corner[2], y0 + corner[1]), (x1 + corner[2], y1 + corner[1])
