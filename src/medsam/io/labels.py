"""Stored values to labels and labels to a grid: the checks that every mask reader shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Grid
from medsam.io.placement import choose_dtype

ROUNDING = 1e-3  # of a label: a slope of 12/255 in float32 leaves 1e-6, a mask that was resampled leaves tenths
MAX_WHOLE = 1 << 31  # of a label stored as a float
MAX_LABEL = (1 << 32) - 1


def convert_to_labels(values: np.ndarray, path: Path) -> np.ndarray:
    """Take stored values as labels.

    Args:
        values: (D, H, W) of any numeric dtype.
        path: For the message.

    Returns:
        (D, H, W) of the smallest unsigned dtype that holds the largest label.

    Raises:
        InputFileError: colours, NaN, fractions, negative values, or a label of more than 32 bits.
    """
    if values.ndim != 3:
        raise InputFileError(
            f"{path} holds colours",
            expected="one integer label per pixel",
            fix="save the mask as a label map, not as a picture of it",
        )
    if values.dtype.kind == "f":
        values = _whole(values, path)
    if values.dtype.kind in "if" and values.min() < 0:
        raise InputFileError(
            f"{path} holds the value {values.min():g}",
            expected="labels of 0 or more",
            fix="is it an image? renumber the labels if not",
        )
    if values.dtype.itemsize > 4 and values.max() > MAX_LABEL:
        raise InputFileError(
            f"{path} holds the value {values.max()}", expected=f"labels up to {MAX_LABEL}", fix="renumber the labels"
        )
    return narrow_labels(values)


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    """Whole numbers as integers; a slope in the header may have left a trace of rounding on them."""
    labels = np.empty(values.shape, dtype=np.int32)
    for index, plane in enumerate(values):
        nearest = np.rint(plane)
        with np.errstate(invalid="ignore"):  # infinity less infinity
            good = np.isfinite(plane) & (np.abs(plane - nearest) <= ROUNDING) & (np.abs(nearest) < MAX_WHOLE)
        if not good.all():
            raise InputFileError(
                f"{path} holds the value {plane[~good].flat[0]:.9g} in slice {index}",
                expected="integer labels",
                fix="threshold or round it first; was it an image?",
            )
        labels[index] = nearest
    return labels


def narrow_labels(labels: np.ndarray) -> np.ndarray:
    """The same labels in the smallest unsigned dtype that holds them; no copy where it is that already."""
    return labels.astype(choose_dtype(int(labels.max())), copy=False)


def is_mask_picture(values: np.ndarray) -> bool:
    """Whether a picture holds black and white alone, and both: 0 and 255, or in 16 bits also 0 and 65535."""
    if values.dtype not in (np.uint8, np.uint16) or values.ndim != 3:
        return False
    counts = np.bincount(values.ravel(), minlength=256)
    return any(
        counts[0] and counts[white] and counts[0] + counts[white] == values.size for white in {255, len(counts) - 1}
    )


def choose_grid_without_geometry(shape: tuple[int, ...], reference: Grid | None, path: Path) -> Grid:
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
