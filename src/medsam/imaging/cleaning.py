"""Cleaning of a label volume: crumbs, holes and rough edges go; every label is treated by itself.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import PromptError

Cleaning = Literal["largest", "fill", "smooth"]
EVERY_NEIGHBOUR = np.ones((3, 3, 3), dtype=bool)  # parts hang together over faces, edges and corners
SMOOTH_SIGMA = 1.0  # of the Gaussian, in voxels of the finest axis
REACH = 4.0  # of the Gaussian, in sigma


def clean(labels_DHW: np.ndarray, how: Cleaning, spacing_mm: tuple[float, float, float] | None = None) -> np.ndarray:
    """Clean every label of a volume.

    Args:
        labels_DHW: (D, H, W) integers, 0 outside; not changed.
        how: "largest" keeps the largest connected part of a label (26 neighbours; of equal ones the first).
            "fill" fills holes of a label that are closed on all sides (of a single slice: in the slice); other labels in
            them stay. "smooth" gives each voxel to the label, or the background, that weighs most around it under a
            Gaussian; a label that would vanish stays as it is.
        spacing_mm: (z, y, x); "smooth" reaches equally far in mm along every axis. Voxels are cubes without it.

    Returns:
        (D, H, W), the same dtype.

    Raises:
        PromptError: an unknown way of cleaning.
    """
    if how not in get_args(Cleaning):
        raise PromptError(
            f"the way to clean is {how!r:.60}", expected=", ".join(get_args(Cleaning)), fix="choose one of them"
        )
    if how == "smooth":
        return _smooth(labels_DHW, spacing_mm or (1.0, 1.0, 1.0))
    cleaned = labels_DHW.copy()
    for label, where in _found(labels_DHW):
        own, out = labels_DHW[where] == label, cleaned[where]
        if how == "largest":
            out[own & ~_largest_part(own)] = 0
        else:
            out[_filled(own) & (out == 0)] = label
    return cleaned


def _found(labels_DHW: np.ndarray) -> list[tuple[int, tuple[slice, slice, slice]]]:
    """Labels, ascending, each with the box it lies in."""
    ids, numbers = np.unique(labels_DHW, return_inverse=True)
    places = ndimage.find_objects(numbers.reshape(labels_DHW.shape) + 1)
    return [(int(label), where) for label, where in zip(ids, places, strict=True) if label]


def _largest_part(mask_DHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask_DHW, structure=EVERY_NEIGHBOUR)
    largest: NDArray[np.bool_] = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return largest


def _filled(mask_DHW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if mask_DHW.shape[0] > 1:
        filled: NDArray[np.bool_] = ndimage.binary_fill_holes(mask_DHW)
        return filled
    return np.asarray(ndimage.binary_fill_holes(mask_DHW[0]), dtype=bool)[None]


def _smooth(labels_DHW: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    sigma = [SMOOTH_SIGMA * min(spacing_mm) / step for step in spacing_mm]
    background = _weight(labels_DHW == 0, sigma)
    cleaned, best = np.zeros_like(labels_DHW), background
    found = _found(labels_DHW)
    for label, where in found:
        near = tuple(
            slice(max(0, part.start - pad), part.stop + pad)
            for part, pad in zip(where, (int(np.ceil(REACH * s)) for s in sigma), strict=True)
        )
        weight = _weight(labels_DHW[near] == label, sigma)
        wins = weight > best[near]
        cleaned[near][wins] = label
        best[near][wins] = weight[wins]
    for label, where in found:
        if not (cleaned == label).any():
            cleaned[where][labels_DHW[where] == label] = label
    return cleaned


def _weight(mask_DHW: NDArray[np.bool_], sigma: list[float]) -> NDArray[np.float32]:
    weight: NDArray[np.float32] = ndimage.gaussian_filter(
        mask_DHW.astype(np.float32), sigma, mode="nearest", truncate=REACH
    )
    return weight
