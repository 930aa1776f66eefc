"""Example predictions of a measurement as one contact sheet: the same samples at every measurement of a run.

Shapes: N targets, H rows, W columns of the slice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medsam.imaging.overlay import captioned, contact_sheet, overlay
from medsam.io.atomic import replacing
from medsam.training.sources import Source

EXAMPLES = "examples"
EXPERT, FOUND = (96, 255, 96), (255, 64, 64)
MOST_PX = 768
LEAST_MARGIN_PX = 24
TITLE_PX, TITLE_WIDTH_PX = 32, 640
LEGEND = "green: expert, red: model, blue: box"


def chosen_examples(source: Source, numbers: Sequence[int], count: int) -> list[int]:
    """Which of some units to draw: modalities in turn, and in each its data sets in turn.

    Args:
        source: Of the units.
        numbers: Units that are measured.
        count: Most that are drawn.
    """
    in_dataset: Counter[tuple[str, str]] = Counter()
    by_modality: dict[str, list[tuple[int, str, int]]] = {}
    for number in numbers:
        unit = source.unit(number)
        place = in_dataset[unit.modality, unit.dataset]
        in_dataset[unit.modality, unit.dataset] += 1
        by_modality.setdefault(unit.modality, []).append((place, unit.dataset, number))
    turns = [
        (turn, modality, number)
        for modality, members in by_modality.items()
        for turn, (_, _, number) in enumerate(sorted(members))
    ]
    return [number for _, _, number in sorted(turns)[:count]]


def draw_example(
    pixels_HW3: NDArray[np.uint8],
    experts: Sequence[NDArray[np.bool_]],
    found: Sequence[NDArray[np.bool_]],
    *,
    boxes: Sequence[Sequence[float]],
    caption: str,
) -> NDArray[np.uint8]:
    """The surroundings of the targets with the contours of experts and model and the boxes the model was given.

    Args:
        pixels_HW3: (H, W, 3) uint8.
        experts: (H, W) bool, one a target.
        found: (H, W) bool, one a target.
        boxes: x0 y0 x1 y1 in slice pixels, one a target.
        caption: Text in the upper left corner.
    """
    boxes_N4 = np.asarray(boxes, dtype=float).reshape(-1, 4)
    rows, columns = _surroundings(boxes_N4, *pixels_HW3.shape[:2])
    apart = -(-max(rows.stop - rows.start, columns.stop - columns.start) // MOST_PX)  # a tile shows no more
    seen = (slice(rows.start, rows.stop, apart), slice(columns.start, columns.stop, apart))
    small_HW3 = np.ascontiguousarray(pixels_HW3[seen])
    boxes_N4 = (boxes_N4 - [columns.start, rows.start, columns.start, rows.start]) / apart
    picture = overlay(small_HW3, np.zeros(small_HW3.shape[:2], np.uint8), boxes=boxes_N4.tolist())
    factor = len(picture) // len(small_HW3)
    for masks, color in ((experts, EXPERT), (found, FOUND)):
        for mask in masks:
            large = np.kron(mask[seen], np.ones((factor, factor), np.uint8)).astype(np.uint8)
            picture = overlay(picture, large, colors={1: color})
    return captioned(picture, caption)


def _surroundings(boxes_N4: NDArray[np.float64], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns around all boxes, with half their extent on every side."""
    if not len(boxes_N4):
        return slice(0, height), slice(0, width)
    low, high = boxes_N4[:, :2].min(axis=0), boxes_N4[:, 2:].max(axis=0)
    margin = max(LEAST_MARGIN_PX, 0.5 * float((high - low).max()))
    (x0, y0), (x1, y1) = np.floor(low - margin).astype(int).tolist(), np.ceil(high + margin).astype(int).tolist()
    return slice(max(0, y0), min(height, y1 + 1)), slice(max(0, x0), min(width, x1 + 1))


def write_examples(run: Path, step: int, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Write examples/step-NNNNNNNN.png, whole or not at all; gives the sheet."""
    return write_sheet(run / EXAMPLES / f"step-{step:08d}.png", pictures, f"step {step}   {LEGEND}")


def write_sheet(path: Path, pictures: Sequence[NDArray[np.uint8]], title: str) -> NDArray[np.uint8]:
    """Write pictures as one sheet under a title; gives the sheet."""
    sheet = contact_sheet(pictures)
    strip = np.zeros((TITLE_PX, *sheet.shape[1:]), np.uint8)
    strip[:, :TITLE_WIDTH_PX] = captioned(strip[:, :TITLE_WIDTH_PX], title)
    sheet = np.concatenate([strip, sheet])
    with replacing(path) as temporary:
        Picture.fromarray(sheet).save(temporary, format="PNG")
    return sheet
