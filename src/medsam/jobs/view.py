"""A slice as a picture with pixel coordinates along its edges, so that a box can be typed without another viewer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from medsam.errors import PromptError
from medsam.imaging.image import Image
from medsam.io.pictures.raster import save_picture
from medsam.jobs.inputs import local_path, read_scan
from medsam.jobs.options import FileOptions, IntensityOptions, Plane
from medsam.jobs.outputs import check_outputs
from medsam.jobs.picture import check_picture

SIDE_PX = 1000  # of the picture's longer side, at least
LINES = 10  # of the grid along the longer side, about
MARGIN = (56, 28)  # left of and above the slice, for the numbers
GRID_COLOR, NUMBER_COLOR = (255, 224, 64), (255, 255, 255)


@dataclass(frozen=True)
class ViewRequest:
    """What to look at.

    Args:
        source: Image file, DICOM folder, or address of a series in a PACS.
        output: The picture (.png).
        slice: Which slice; the middle one without it.
        plane: Whose slices are meant.
        file: Which image of the file.
        intensity: Modality and window.
        overwrite: Whether a picture that exists is replaced.
    """

    source: Path
    output: Path
    slice: int | None = None
    plane: Plane | None = None
    file: FileOptions = FileOptions()
    intensity: IntensityOptions = IntensityOptions()
    overwrite: bool = False


@dataclass(frozen=True)
class ViewResult:
    """What was drawn: the slice, of how many, and its size in pixels."""

    slice: int
    depth: int
    height: int
    width: int


def view(request: ViewRequest) -> ViewResult:
    """Draw one slice with a grid of pixel coordinates.

    Raises:
        MedsamError: an image that cannot be read or normalized, or a slice that is not there.
    """
    check_picture(request.output)
    check_outputs([request.output], [request.source], overwrite=request.overwrite)
    with local_path(request.source) as path:
        image: Image = read_scan(path, request.file, request.intensity, request.plane).sliced
    depth, height, width = image.grid.shape
    index = depth // 2 if request.slice is None else request.slice
    if not 0 <= index < depth:
        raise PromptError(f"slice is {index}", expected=f"0 to {depth - 1}", fix="choose a slice of the image")
    drawn = draw_coordinates(image.slice_rgb(index))
    save_picture(request.output, drawn)
    return ViewResult(index, depth, height, width)


def draw_coordinates(slice_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Enlarge a slice and draw lines through round pixel numbers, each with its number at the edge.

    Args:
        slice_HW3: (H, W, 3) uint8.

    Returns:
        (H * f + 28, W * f + 56, 3) uint8; the centre of pixel (x, y) lies at (56 + (x + 0.5) f, 28 + (y + 0.5) f).
    """
    height, width = slice_HW3.shape[:2]
    factor = max(1, math.ceil(SIDE_PX / max(height, width)))
    step = _round_step(max(height, width) / LINES)
    left, top = MARGIN
    canvas = Picture.new("RGB", (left + width * factor, top + height * factor))
    enlarged = Picture.fromarray(np.ascontiguousarray(slice_HW3))
    canvas.paste(enlarged.resize((width * factor, height * factor), Picture.Resampling.NEAREST), MARGIN)
    lines = canvas.copy()
    draw, font = ImageDraw.Draw(lines), ImageFont.load_default(14)
    for x in range(0, width, step):
        draw.line([(left + (x + 0.5) * factor, top), (left + (x + 0.5) * factor, lines.height)], fill=GRID_COLOR)
    for y in range(0, height, step):
        draw.line([(left, top + (y + 0.5) * factor), (lines.width, top + (y + 0.5) * factor)], fill=GRID_COLOR)
    canvas = Picture.blend(canvas, lines, 0.35)  # the slice stays visible under its lines
    draw = ImageDraw.Draw(canvas)
    for x in range(0, width, step):
        draw.text((left + (x + 0.5) * factor, top - 4), str(x), fill=NUMBER_COLOR, font=font, anchor="mb")
    for y in range(0, height, step):
        draw.text((left - 6, top + (y + 0.5) * factor), str(y), fill=NUMBER_COLOR, font=font, anchor="rm")
    return np.asarray(canvas)


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is not below."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least:
                return digit * power
        power *= 10
