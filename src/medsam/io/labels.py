"""Stored values to labels and labels to a grid: the checks that every mask reader shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid
from medsam.io.placement import smallest_dtype


def labels_of(values: np.ndarray, path: Path) -> np.ndarray:
    """Take stored values as labels.

    Args:
        values: (D, H, W) of any numeric dtype.
        path: For the message.

    Returns:
        (D, H, W) of the smallest unsigned dtype that holds the largest label.

    Raises:
        InputFileError: colours, NaN, fractions or negative values.
    """
    if values.ndim != 3:
        raise InputFileError(
            f"{path} holds colours",
            expected="one integer label per pixel",
            fix="save the mask as a label map, not as a picture of it",
        )
    if values.dtype.kind == "f":
        for index, plane in enumerate(values):
            if not (np.isfinite(plane).all() and (plane == np.rint(plane)).all()):
                raise InputFileError(
                    f"{path} holds {_example(plane)} in slice {index}",
                    expected="integer labels",
                    fix="threshold or round it first; was it an image?",
                )
    if values.dtype.kind in "if" and values.min() < 0:
        raise InputFileError(
            f"{path} holds the value {values.min():g}",
            expected="labels of 0 or more",
            fix="is it an image? renumber the labels if not",
        )
    return smallest(values)


def _example(plane: np.ndarray) -> str:
    odd = plane[~np.isfinite(plane) | (plane != np.rint(plane))]
    return f"the value {odd.flat[0]:g}"


def smallest(labels: np.ndarray) -> np.ndarray:
    """The same labels in the smallest unsigned dtype that holds them; no copy where it is that already."""
    return labels.astype(smallest_dtype(int(labels.max())), copy=False)


def grid_without_geometry(shape: tuple[int, ...], reference: Grid | None, path: Path) -> Grid:
    """The grid of a mask whose format stores none: the reference's where there is one, else unknown spacing.

    Raises:
        GeometryError: the reference has another shape.
    """
    if reference is None:
        return Grid(shape)  # type: ignore[arg-type]  # Grid refuses other lengths
    if reference.shape != tuple(shape):
        raise GeometryError(
            f"{path} has shape {tuple(shape)} (slices, rows, columns)",
            expected=f"{reference.shape} as the image",
            fix="take the image it was drawn on",
        )
    return reference
