"""Cases as pictures: box, model and expert over the image, in the colours of the paper's figures, and grids of them.

Shapes: N targets, H rows, W columns of the slice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medsam.evaluation.figures import PAGE_IN
from medsam.imaging.overlay import draw_overlay, write_caption

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERT, FOUND = (255, 0, 220), (255, 230, 0)  # magenta and yellow; boxes are blue
LEAST_PX, MOST_PX = 512, 768  # of the longer side
LEAST_MARGIN_PX = 24


def draw_example(
    pixels_HW3: NDArray[np.uint8],
    experts: Sequence[NDArray[np.bool_]],
    found: Sequence[NDArray[np.bool_]],
    *,
    boxes: Sequence[Sequence[float]],
    caption: str = "",
    line_share: float | None = None,
) -> NDArray[np.uint8]:
    """The surroundings of the targets with the contours of experts and model and the boxes the model was given.

    Args:
        pixels_HW3: (H, W, 3) uint8.
        experts: (H, W) bool, one a target.
        found: (H, W) bool, one a target.
        boxes: x0 y0 x1 y1 in slice pixels, one a target.
        caption: Text in the upper left corner.
        line_share: Width of lines as a share of the picture's longer side, for prints smaller than it.
    """
    boxes_N4 = np.asarray(boxes, dtype=float).reshape(-1, 4)
    rows, columns = _surroundings(boxes_N4, *pixels_HW3.shape[:2])
    apart = -(-max(rows.stop - rows.start, columns.stop - columns.start) // MOST_PX)  # a tile shows no more
    seen = (slice(rows.start, rows.stop, apart), slice(columns.start, columns.stop, apart))
    small_HW3 = np.ascontiguousarray(pixels_HW3[seen])
    boxes_N4 = (boxes_N4 - [columns.start, rows.start, columns.start, rows.start]) / apart
    longer = max(small_HW3.shape[:2])
    factor = -(-LEAST_PX // longer)
    line_px = None if line_share is None else max(1, round(line_share * factor * longer))
    none_HW = np.zeros(small_HW3.shape[:2], np.uint8)
    picture = draw_overlay(small_HW3, none_HW, boxes=boxes_N4.tolist(), side_px=LEAST_PX, line_px=line_px)
    for masks, color in ((experts, EXPERT), (found, FOUND)):
        for mask in masks:
            large = np.kron(mask[seen], np.ones((factor, factor), np.uint8)).astype(np.uint8)
            picture = draw_overlay(picture, large, colors={1: color}, line_px=line_px)
    return write_caption(picture, caption) if caption else picture


def _surroundings(boxes_N4: NDArray[np.float64], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns around all boxes, with half their extent on every side."""
    if not len(boxes_N4):
        return slice(0, height), slice(0, width)
    low, high = boxes_N4[:, :2].min(axis=0), boxes_N4[:, 2:].max(axis=0)
    margin = max(LEAST_MARGIN_PX, 0.5 * float((high - low).max()))
    (x0, y0), (x1, y1) = np.floor(low - margin).astype(int).tolist(), np.ceil(high + margin).astype(int).tolist()
    return slice(max(0, y0), min(height, y1 + 1)), slice(max(0, x0), min(width, x1 + 1))


@dataclass(frozen=True, eq=False)
class GridColumn:
    """A column of a grid of pictures: one case.

    Args:
        title: What it is.
        pictures: (H, W, 3) uint8, one a row.
        captions: Under each picture.
    """

    title: str
    pictures: Sequence[NDArray[np.uint8]]
    captions: Sequence[str]


def draw_grid(columns: Sequence[GridColumn], rows: Sequence[str]) -> Figure:
    """Lay pictures out as a grid, a case a column, a model a row (paper, Fig. 3c).

    Args:
        columns: Of the grid.
        rows: Name of each row.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    side = PAGE_IN / max(len(columns), 4)
    size = (side * len(columns) + 0.15, (side + 0.12) * len(rows) + 0.3)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, layout=layout)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for (c, column), r in itertools.product(enumerate(columns), range(len(rows))):
        axes = grid[r, c]
        axes.imshow(_square(column.pictures[r]))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(column.captions[r], labelpad=1.5)
        if not r:
            axes.set_title(column.title.replace(" ", "\n", 1), fontsize=7)
        if not c:
            axes.set_ylabel(rows[r])
    return figure


def _square(picture_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """White above and below, or left and right, so that all pictures of a grid have one shape."""
    height, width = picture_HW3.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture_HW3
    return square
