"""Whole slides: regions and tiles at any level of the pyramid, padded with 0 outside. tiffslide first, then openslide.

Coordinates are pixels of level 0, x to the right, y down. Shape legend: H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError, MissingDependencyError, PromptError
from medsam.imaging.frame import resize
from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality
from medsam.io.formats import ReadOptions
from medsam.io.limits import say_size

TILE_PX = 1024  # paper, Methods, Dataset curation: whole slides are cut into 1024 x 1024 tiles without overlap
BAND_PX = 1 << 24  # pixels read at a time when a region is shrunk
READERS = (("tiffslide", "TiffSlide"), ("openslide", "OpenSlide"))

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Level:
    """One picture of the pyramid.

    Args:
        width: Pixels.
        height: Pixels.
        downsample: Level-0 pixels per pixel of this level, at least 1.
    """

    width: int
    height: int
    downsample: float


@dataclass(frozen=True, eq=False)
class Tile:
    """A square of a slide.

    Args:
        values: (size, size, 3) uint8; 0 beyond the slide's edge.
        x: Left edge in the pixels of its level.
        y: Upper edge.
        width: Columns that lie on the slide.
        height: Rows that lie on the slide.
    """

    values: RGB
    x: int
    y: int
    width: int
    height: int


class Slide(AbstractContextManager["Slide"]):
    """An open whole slide; close it, or use it in a with block.

    Raises:
        InputFileError: no reader knows the file, or it is damaged.
        MissingDependencyError: neither tiffslide nor openslide is installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise InputFileError(f"{self.path} does not exist", expected="a whole slide", fix="check the path")
        self._reader = _open(self.path)
        sizes = [(int(w), int(h)) for w, h in self._reader.level_dimensions]
        scales = [float(d) for d in self._reader.level_downsamples]
        self.levels = tuple(Level(w, h, d) for (w, h), d in zip(sizes, scales, strict=True))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Distance between rows and between columns of level 0, None where the file does not say."""
        found = [self._reader.properties.get(f"{name}.mpp-{axis}") for axis in "yx" for name, _ in READERS]
        numbers = [float(value) for value in found if value not in (None, "")]
        return (numbers[0] / 1000, numbers[-1] / 1000) if len(numbers) >= 2 and min(numbers) > 0 else None

    def read(self, x: int, y: int, width: int, height: int, *, level: int = 0) -> RGB:
        """Read a region.

        Args:
            x: Left edge in the pixels of the level; may lie outside.
            y: Upper edge.
            width: Columns wanted.
            height: Rows wanted.
            level: Which picture of the pyramid, 0 is the largest.

        Returns:
            (height, width, 3) uint8, 0 outside the slide.

        Raises:
            PromptError: no such level. InputFileError: the pixels are damaged.
        """
        if not 0 <= level < len(self.levels):
            raise PromptError(
                f"level is {level}", expected=f"0 to {len(self.levels) - 1}", fix="choose a level of the slide"
            )
        size = self.levels[level]
        region = np.zeros((height, width, 3), dtype=np.uint8)
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, size.width), min(y + height, size.height)
        if x1 > x0 and y1 > y0:
            base = self.levels[0]
            # The first level-0 pixel that falls on this pixel: both libraries round down from there.
            start = (-(-x0 * base.width // size.width), -(-y0 * base.height // size.height))
            region[y0 - y : y1 - y, x0 - x : x1 - x] = self._pixels(start, level, (x1 - x0, y1 - y0))
        return region

    def _pixels(self, start: tuple[int, int], level: int, size: tuple[int, int]) -> RGB:
        try:
            pixels = np.asarray(self._reader.read_region(start, level, size))
        except Exception as error:  # noqa: BLE001 - the libraries raise whatever their codecs raise
            raise InputFileError(
                f"{self.path.name} cannot be read at {start[0]},{start[1]} ({type(error).__name__})",
                expected="a whole slide",
                fix="copy or export it again",
            ) from None
        if pixels.ndim == 2:
            return np.repeat(pixels[:, :, None], 3, axis=2)
        if (
            pixels.shape[2] == 4
        ):  # where nothing was scanned, openslide gives transparent pixels; slides are white there
            return np.where(pixels[:, :, 3:] > 0, pixels[:, :, :3], 255).astype(np.uint8)
        return pixels[:, :, :3]

    def read_scaled(self, x: float, y: float, side: float, size: int) -> RGB:
        """Read a square of level-0 pixels, shrunk to size x size; from the level that is just fine enough.

        Args:
            x: Left edge in pixels of level 0; may lie outside.
            y: Upper edge.
            side: Side of the square in level-0 pixels.
            size: Side of the picture wanted.
        """
        shrink = max(side / size, 1.0)
        level = max(i for i, one in enumerate(self.levels) if one.downsample <= shrink * 1.01)
        scale = self.levels[level].downsample
        step = max(int(shrink / scale), 1)  # whole pixels averaged while reading, so that memory stays small
        left, top = round(x / scale), round(y / scale)
        count = max(round(side / scale / step), 1)
        rows = max(BAND_PX // (count * step * step), 1)
        picture = np.empty((count, count, 3), dtype=np.uint8)
        for row in range(0, count, rows):
            last = min(row + rows, count)
            band = self.read(left, top + row * step, count * step, (last - row) * step, level=level)
            shape = (last - row, step, count, step, 3)
            picture[row:last] = band.reshape(shape).mean(axis=(1, 3)).round() if step > 1 else band
        return resize(picture, (size, size), "area")


def _open(path: Path) -> Any:  # noqa: ANN401 - two libraries with the same interface, neither typed
    installed, reasons = 0, []
    for module, name in READERS:
        try:
            reader: Callable[[Path], Any] = getattr(import_module(module), name)
        except ImportError:
            continue
        installed += 1
        try:
            return reader(path)
        except Exception as error:  # noqa: BLE001 - each library has its own errors for a file it does not know
            reasons.append(f"{module}: {type(error).__name__}")
    if not installed:
        raise MissingDependencyError(
            "neither tiffslide nor openslide is installed",
            expected="one of them",
            fix="run: pip install 'openmedsam[wsi]'",
        )
    raise InputFileError(
        f"{path} is no whole slide ({', '.join(reasons)})", expected="SVS, NDPI, a tiled TIFF ...", fix="check the file"
    )


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read a slide that is small enough as one picture.

    Raises:
        InputFileError: it would not fit; use iter_tiles, or segment_slide with boxes.
    """
    with Slide(path) as slide:
        base = slide.levels[0]
        needed = base.width * base.height * 3
        if needed > options.max_bytes:
            raise InputFileError(
                f"{path.name} has {base.width} x {base.height} pixels, {say_size(needed)}",
                expected=f"at most {say_size(options.max_bytes)}",
                fix="cut it with medsam.io.pictures.slides.iter_tiles, or prompt it with medsam.inference.slides.segment_slide",
            )
        spacing = slide.spacing_mm
        grid = Grid((1, base.height, base.width), (1.0, *spacing) if spacing else None)
        return Image(slide.read(0, 0, base.width, base.height)[None], grid, Modality.PATHOLOGY)


def iter_tiles(path: str | Path, size: int = TILE_PX, *, level: int = 0) -> Iterator[Tile]:
    """Cut a slide into tiles without overlap, row by row; the last ones are padded with 0.

    Args:
        path: The slide.
        size: Side of a tile in pixels.
        level: Which picture of the pyramid.

    Source: paper, Methods, Dataset curation and pre-processing.
    """
    if size < 1:
        raise PromptError(f"the tile size is {size}", expected="at least 1 pixel", fix="pass --size 1024")
    with Slide(path) as slide:
        slide.read(0, 0, 1, 1, level=level)  # refuse a missing level before the first tile
        whole = slide.levels[level]
        for y in range(0, whole.height, size):
            for x in range(0, whole.width, size):
                width, height = min(size, whole.width - x), min(size, whole.height - y)
                yield Tile(slide.read(x, y, size, size, level=level), x, y, width, height)
