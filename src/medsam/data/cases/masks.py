"""Mask files of a data set to label arrays on the image's grid, in whatever form the set publishes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from medsam.data.cards.card import CardMasks
from medsam.data.cases.paths import MaskFile
from medsam.data.cases.published_forms import order_slices, read_gif, read_lidc, read_npy_mask, read_outlines
from medsam.data.cases.quality import Fault, Reason, check_grid
from medsam.errors import GeometryError, MedsamError
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import read_image, read_mask


def read_labels(file: MaskFile, masks: CardMasks, root: Path, image: Path, grid: Grid) -> list[Mask]:
    """Read every mask file of one template.

    Args:
        file: Paths relative to root.
        masks: How the card says they are meant.
        root: The data set's folder.
        image: The image file or folder.
        grid: The image's grid, which the masks must lie on.

    Returns:
        One Mask per file on exactly the image's grid; a stack of slices is one.

    Raises:
        Fault: no file, an unreadable one, or one on another grid.
    """
    if not file.files:
        raise Fault(Reason.NO_MASK, f"no file matches {file.template}", quotes=True)
    paths = [root / name for name in file.files]
    try:
        if masks.form == "lidc-xml":
            return [read_lidc(paths, image, grid)]
        if masks.form == "stack":
            return [_on_image(_stack([_read(path, masks, grid) for path in paths], image, grid), grid, shape_only=True)]
        found = [_read(path, masks, grid) for path in paths]
        if masks.pick == "same-size":
            found = [mask for mask in found if mask.grid.shape == grid.shape] or found
        return [_on_image(mask, grid, shape_only=masks.grid == "image") for mask in found]
    except GeometryError as error:
        raise Fault(Reason.OTHER_GRID, error.got, quotes=True) from None
    except MedsamError as error:
        raise Fault(Reason.UNREADABLE_MASK, error.got, quotes=True) from None


def _read(path: Path, masks: CardMasks, grid: Grid) -> Mask:
    if masks.form in ("aperio-xml", "osirix-plist"):
        return read_outlines(path, grid)
    if path.suffix.lower() == ".gif":
        mask = read_gif(path)
    elif path.suffix == ".npy":
        mask = read_npy_mask(path)
    elif masks.threshold is None and masks.form != "outline":
        mask = read_mask(path)
    else:
        mask = _thresholded(path, masks)
    if masks.nearest and mask.grid.shape != grid.shape:
        rows, columns = ((np.arange(n) * m // n) for n, m in zip(grid.shape[1:], mask.grid.shape[1:], strict=True))
        mask = Mask(mask.labels[:, rows[:, None], columns], grid)
    return mask


def _thresholded(path: Path, masks: CardMasks) -> Mask:
    image = read_image(path)
    grey = image.values.max(axis=3) if image.is_rgb else image.values
    labels = (grey > (masks.threshold or 0)).astype(np.uint8)
    if masks.form == "outline":
        labels = np.stack([ndimage.binary_fill_holes(plane) for plane in labels]).astype(np.uint8)
    return Mask(labels, image.grid)


def _stack(masks: list[Mask], image: Path, grid: Grid) -> Mask:
    """One mask of single slices that are named in the order of the image's DICOM files."""
    shapes = {mask.grid.shape[1:] for mask in masks}
    if len(shapes) > 1:
        raise Fault(Reason.OTHER_GRID, f"the slices of the mask have {len(shapes)} different sizes")
    labels = np.concatenate([mask.labels for mask in masks])
    order = order_slices(image, grid) if image.is_dir() else list(range(len(labels)))
    if len(order) != len(labels):
        raise Fault(Reason.OTHER_GRID, f"{len(labels)} mask slices for {len(order)} image slices")
    placed = np.empty_like(labels)
    placed[order] = labels
    return Mask(placed, Grid(placed.shape))


def _on_image(mask: Mask, grid: Grid, *, shape_only: bool) -> Mask:
    check_grid(mask.grid, grid, shape_only=shape_only)
    return Mask(mask.labels, grid)
