"""Pictures a person can judge: contours of a mask, and boxes, drawn over the slice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from medsam.imaging.palette import choose_color

BOX_COLOR = (80, 140, 255)


def draw_overlay(
    slice_HW3: NDArray[np.uint8],
    labels_HW: np.ndarray,
    *,
    boxes: Sequence[Sequence[float]] = (),
    points: Sequence[tuple[float, float, int]] = (),
    colors: Mapping[int, tuple[int, int, int]] | None = None,
    side_px: int = 512,
    line_px: int | None = None,
    caption: str = "",
) -> NDArray[np.uint8]:
    """Draw contours, boxes and points over a slice.

    Args:
        slice_HW3: (H, W, 3) uint8.
        labels_HW: (H, W) label map of the slice.
        boxes: x0 y0 x1 y1 in slice pixels, drawn in blue.
        points: x, y, 1 for inside (green) or 0 for outside (red).
        colors: Label id to color.
        side_px: The longer side is enlarged by a whole factor to at least this, so that lines stay thin.
        line_px: Width of contours and boxes in pixels of the picture; by its size without it.
        caption: Text in the upper left corner.

    Returns:
        (H * f, W * f, 3) uint8.
    """
    height, width = labels_HW.shape
    factor = max(1, math.ceil(side_px / max(height, width)))
    size = (width * factor, height * factor)
    contour_px, box_px = (line_px or max(1, round(max(size) / part)) for part in (400, 500))
    picture = np.array(Picture.fromarray(np.ascontiguousarray(slice_HW3)).resize(size, Picture.Resampling.BICUBIC))
    large = np.kron(labels_HW, np.ones((factor, factor), dtype=labels_HW.dtype)) if factor > 1 else labels_HW
    for label in (int(i) for i in np.unique(labels_HW) if i):
        picture[_contour(large == label, contour_px)] = choose_color(label, colors)
    canvas = Picture.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    for box in boxes:
        x0, y0, x1, y1 = ((v + 0.5) * factor for v in box)
        draw.rectangle((x0, y0, x1, y1), outline=BOX_COLOR, width=box_px)
    for x, y, inside in points:
        cx, cy, radius = (x + 0.5) * factor, (y + 0.5) * factor, max(3, max(size) // 120)
        draw.ellipse(
            (cx - radius, cy - radius, cx + radius, cy + radius),
            fill=(0, 220, 0) if inside else (230, 0, 0),
            outline=(255, 255, 255),
        )
    return write_caption(np.asarray(canvas), caption) if caption else np.asarray(canvas)


def write_caption(picture_HW3: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """Write a line of text into the upper left corner of a picture, sized to it."""
    canvas = Picture.fromarray(np.ascontiguousarray(picture_HW3))
    font = ImageFont.load_default(max(12, max(canvas.size) // 32))
    ImageDraw.Draw(canvas).text((6, 4), caption, fill=(255, 255, 255), font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(canvas)


def tile_pictures(pictures: Sequence[NDArray[np.uint8]], *, columns: int = 4, tile_px: int = 384) -> NDArray[np.uint8]:
    """Lay pictures into a grid of square tiles, each scaled to fit, black around.

    Args:
        pictures: (H, W, 3) uint8 each, at least one.
        columns: Tiles in a row.
        tile_px: Side of a tile in pixels.
    """
    columns = min(columns, len(pictures))
    sheet = Picture.new("RGB", (columns * tile_px, math.ceil(len(pictures) / columns) * tile_px))
    for number, array in enumerate(pictures):
        tile = Picture.fromarray(array)
        tile.thumbnail((tile_px - 4, tile_px - 4), Picture.Resampling.LANCZOS)
        x = number % columns * tile_px + (tile_px - tile.width) // 2
        y = number // columns * tile_px + (tile_px - tile.height) // 2
        sheet.paste(tile, (x, y))
    return np.asarray(sheet)


def _contour(mask_HW: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    """Foreground pixels within `thickness` of the background."""
    inner = mask_HW.copy()
    for _ in range(thickness):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask_HW & ~inner
