"""Slices of images and masks as figures for notebooks, drawn with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError, PromptError
from medsam.imaging.palette import choose_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medsam.imaging.image import Grid, Image, Mask

OPACITY = 0.45  # of labels over an image


def show_slice(image: Image | None, mask: Mask | None, index: int | None, plane: str | None) -> Figure:
    """Draw one slice of an image, of a mask, or of a mask over its image; pixels keep their proportions in mm.

    Args:
        image: What to draw in grey or colour.
        mask: Labels to draw in their colours; on the image's grid where there are both.
        index: Which slice; without it the one with most foreground, or the middle one without a mask.
        plane: "axial", "coronal" or "sagittal"; the slices as stored without it.

    Raises:
        GeometryError: an unknown plane, or a mask on another grid. PromptError: the slice is not there.
    """
    from matplotlib.figure import Figure

    grid: Grid = (image or mask).grid  # type: ignore[union-attr]  # one of them is there
    if image is not None and mask is not None and not mask.grid.same_as(image.grid):
        raise GeometryError(
            f"the mask has shape {mask.grid.shape}", expected="the grid of the image", fix="read it with reference="
        )
    axis = grid.find_axis(plane) if plane is not None else 0
    values = None if image is None else np.moveaxis(image.values, axis, 0)
    labels = None if mask is None else np.moveaxis(mask.labels, axis, 0)
    depth = grid.shape[axis]
    if index is None:
        index = depth // 2 if labels is None else int((labels > 0).sum(axis=(1, 2)).argmax())
    if not 0 <= index < depth:
        raise PromptError(f"slice is {index}", expected=f"0 to {depth - 1}", fix="choose a slice of it")
    figure = Figure(figsize=(5, 5), layout="tight")
    axes = figure.subplots()
    rows, columns = (s for a, s in enumerate(grid.spacing_mm or (1.0, 1.0, 1.0)) if a != axis)
    if values is not None:
        axes.imshow(_shown(values[index]), cmap="gray", aspect=rows / columns, interpolation="nearest")
    if labels is not None and mask is not None:
        opacity = OPACITY if image is not None else 1.0
        axes.imshow(_paint(labels[index], mask, opacity), aspect=rows / columns, interpolation="nearest")
    axes.set_title(f"{plane or 'slice'} {index} of {depth}")
    axes.set_axis_off()
    return figure


def _shown(values: np.ndarray) -> np.ndarray:
    """Colours of more than 8 bits scaled to 0..1, as matplotlib wants them; grey as it is."""
    if values.ndim == 2 or values.dtype == np.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / max(high - low, 1e-12))


def _paint(labels_HW: np.ndarray, mask: Mask, opacity: float) -> NDArray[np.float64]:
    """(H, W, 4) colours of the labels; background is clear over an image and black without one."""
    painted = np.zeros((*labels_HW.shape, 4))
    painted[..., 3] = 1.0 if opacity == 1.0 else 0.0
    for label in np.unique(labels_HW).tolist():
        if label:
            color = [c / 255 for c in choose_color(label, mask.colors)]
            painted[labels_HW == label] = (*color, opacity)
    return painted
