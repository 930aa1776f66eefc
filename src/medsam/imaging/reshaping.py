"""One object of a label volume given another shape, while all others keep theirs: what a person asks for while correcting.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import PromptError
from medsam.imaging.cleaning import Cleaning, clean

ROUNDING = 1e-6  # files keep a spacing of 0.8 mm in 32 bits, as 0.80000001
Reshaping = Literal["fill", "largest", "smooth", "grow", "shrink"]


def reshape_object(
    labels_DHW: np.ndarray, label: int, how: Reshaping, *, by_mm: float = 0.0,
    spacing_mm: tuple[float, float, float] | None = None,
) -> np.ndarray:  # fmt: skip
    """Fill, clean, smooth, grow or shrink one object.

    Args:
        labels_DHW: (D, H, W) integers, 0 outside; not changed. A single slice is treated in 2D.
        label: The object. Nothing of another object changes: it grows over background only.
        how: "fill", "largest" and "smooth" as in cleaning.clean; "grow" adds the background that lies within by_mm of
            the object, "shrink" takes what lies within by_mm of its outside. What lies beyond the image is not outside.
        by_mm: Distance between voxel centres, in mm.
        spacing_mm: (z, y, x). Without it by_mm is in pixels.

    Returns:
        (D, H, W), the same dtype.

    Raises:
        PromptError: an unknown way, a label that is not there, a distance of 0 or less, or nothing would be left.
    """
    if how not in get_args(Reshaping):
        raise PromptError(f"the way is {how!r:.60}", expected=", ".join(get_args(Reshaping)), fix="choose one of them")
    own = labels_DHW == label
    if not own.any():
        raise PromptError(f"object {label} is not drawn here", expected="a mask to change", fix="outline it first")
    spacing = spacing_mm or (1.0, 1.0, 1.0)
    if len(labels_DHW) == 1:  # a single slice has no neighbour that its thickness could lead to
        spacing = (min(spacing[1:]), *spacing[1:])
    changed = _moved_edge(own, how, by_mm, spacing) if how in ("grow", "shrink") else _cleaned(own, how, spacing)
    shaped = labels_DHW.copy()
    shaped[own & ~changed] = 0
    shaped[changed & (shaped == 0)] = label
    if not (shaped == label).any():
        raise PromptError(f"object {label} would vanish", expected="a smaller step", fix="shrink it by less")
    return shaped


def _cleaned(own_DHW: NDArray[np.bool_], how: str, spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    way: Cleaning = "fill" if how == "fill" else "largest" if how == "largest" else "smooth"
    changed: NDArray[np.bool_] = clean(own_DHW.astype(np.uint8), way, spacing_mm) > 0
    return changed


def _moved_edge(
    own_DHW: NDArray[np.bool_], how: str, by_mm: float, spacing_mm: tuple[float, float, float]
) -> NDArray[np.bool_]:
    if not (np.isfinite(by_mm) and by_mm > 0):
        raise PromptError(f"the distance is {by_mm}", expected="more than 0", fix="say by how much")
    [found] = ndimage.find_objects(own_DHW.astype(np.uint8))
    pads = [int(np.ceil(by_mm / step)) + 1 for step in spacing_mm]
    near = tuple(slice(max(0, part.start - pad), part.stop + pad) for part, pad in zip(found, pads, strict=True))
    inside = own_DHW[near]
    reach_mm = by_mm * (1 + ROUNDING)
    moved = own_DHW.copy()
    if how == "grow":
        moved[near] = ndimage.distance_transform_edt(~inside, sampling=spacing_mm) <= reach_mm
    elif not inside.all():  # an object that fills the image has no outside
        moved[near] = ndimage.distance_transform_edt(inside, sampling=spacing_mm) > reach_mm
    return moved
