"""NRRD images and label maps, attached (.nrrd) and detached (.nhdr): which stored axis is a place, a colour, a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsam.errors import InputFileError
from medsam.imaging.image import Image
from medsam.io.formats import ReadOptions
from medsam.io.volumes.axes import choose_volume, order_colours
from medsam.io.volumes.nrrd_header import (
    Header,
    read_directions,
    read_grid,
    read_kinds,
    read_stored,
    write_values,
)

__all__ = ["read_image", "write_values"]

COLOURS = {"rgb-color": 3, "3-color": 3, "rgba-color": 4, "4-color": 4}
PLACED = ("domain", "space", "???", "none", "")  # kinds of axes that are places


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read values as stored, on the grid of `space directions`, or of `spacings` alone, or of unknown spacing.

    Raises:
        InputFileError: not NRRD, truncated, too large, data outside its folder, or several volumes and none chosen.
        GeometryError: directions that are degenerate or in a space that cannot be placed.
    """
    header, stored = read_stored(path, options.max_bytes)
    values, placed = _three_axes(stored, header, options, path)
    return Image(values, read_grid(header, (values.shape[0], values.shape[1], values.shape[2]), placed, path))


def _three_axes(values: np.ndarray, header: Header, options: ReadOptions, path: Path) -> tuple[np.ndarray, list[int]]:
    """(D, H, W[, 3]) and, for each of x, y, z, the stored axis it was: colours last, one volume of several."""
    count = values.ndim
    kinds, rows = read_kinds(header, count), read_directions(header, count)
    placed = [i for i in range(count) if rows[i] is not None] if any(row is not None for row in rows) else []
    placed = placed or [i for i in range(count) if kinds[i] in PLACED]
    colours = (i for i in range(count) if i not in placed and _is_colour(kinds[i], values.shape[count - 1 - i], values))
    colour = next(colours, None)
    if len(placed) > 3:
        placed = placed[:3]
    if len(placed) < 2:
        raise InputFileError(
            f"{path} has axes of kinds {kinds}", expected="two or three axes of kind domain", fix="export it again"
        )
    others = [i for i in range(count) if i not in placed and i != colour]
    order = [*reversed(others), *reversed(placed), *([colour] if colour is not None else [])]
    turned = np.transpose(values, [count - 1 - i for i in order])
    inner = turned.shape[len(others) :]
    if len(placed) == 2:
        inner = (1, *inner)
    return order_colours(choose_volume(turned.reshape(-1, *inner), options.volume, path), path), placed


def _is_colour(kind: str, size: int, values: np.ndarray) -> bool:
    """ITK calls the channels of RGB images a vector; other vectors (displacements) are not uint8."""
    return COLOURS.get(kind) == size or (kind == "vector" and size == 3 and values.dtype == np.uint8)
