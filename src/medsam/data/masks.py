"""Mask files of a data set to label arrays on the image's grid, in whatever form the set publishes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from medsam.data.cards import Masks
from medsam.data.layout import MaskFile
from medsam.data.quality import Fault, Reason, check_grid
from medsam.errors import GeometryError, MedsamError
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import read_image, read_mask


def read_labels(file: MaskFile, masks: Masks, root: Path, grid: Grid) -> list[Mask]:
    """Read every mask file of one template.

    Args:
        file: Paths relative to root.
        masks: How the card says they are meant.
        root: The data set's folder.
        grid: The image's grid, which the masks must lie on.

    Returns:
        One Mask per file on exactly the image's grid; a stack of slices is one.

    Raises:
        Fault: no file, an unreadable one, or one on another grid.
    """
    if not file.files:
        raise Fault(Reason.NO_MASK, f"no file matches {file.template}")
    paths = [root / name for name in file.files]
    try:
        if masks.form in ("aperio-xml", "osirix-plist", "lidc-xml"):
            from medsam.data.annotations import read_annotation

            return [read_annotation(path, masks.form, grid) for path in paths]
        if masks.form == "stack":
            return [_on_image(_stack([_read(path, masks) for path in paths]), grid, shape_only=True)]
        return [_on_image(_read(path, masks), grid, shape_only=masks.grid == "image") for path in paths]
    except GeometryError as error:
        raise Fault(Reason.OTHER_GRID, error.got) from None
    except MedsamError as error:
        raise Fault(Reason.UNREADABLE_MASK, error.got) from None


def _read(path: Path, masks: Masks) -> Mask:
    if masks.threshold is None and masks.form != "outline":
        return read_mask(path)
    image = read_image(path)
    grey = image.values.max(axis=3) if image.is_rgb else image.values
    labels = (grey > (masks.threshold or 0)).astype(np.uint8)
    if masks.form == "outline":
        labels = np.stack([ndimage.binary_fill_holes(plane) for plane in labels]).astype(np.uint8)
    return Mask(labels, image.grid)


def _stack(masks: list[Mask]) -> Mask:
    shapes = {mask.grid.shape[1:] for mask in masks}
    if len(shapes) > 1:
        raise Fault(Reason.OTHER_GRID, f"the slices of the mask have {len(shapes)} different sizes")
    labels = np.concatenate([mask.labels for mask in masks])
    depth, height, width = labels.shape
    return Mask(labels, Grid((depth, height, width)))


def _on_image(mask: Mask, grid: Grid, *, shape_only: bool) -> Mask:
    check_grid(mask.grid, grid, shape_only=shape_only)
    return Mask(mask.labels, grid)
