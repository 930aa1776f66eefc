"""Example predictions of a measurement as one contact sheet: the same samples at every measurement of a run.

Shapes: N targets, H rows, W columns of the slice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.imaging.overlay import tile_pictures, write_caption
from medsam.io.pictures.raster import save_picture
from medsam.training.samples.sources import SampleSource

EXAMPLES = "examples"
TITLE_PX, TITLE_WIDTH_PX = 32, 640
LEGEND = "magenta: expert, yellow: model, blue: box"


def choose_examples(source: SampleSource, numbers: Sequence[int], count: int) -> list[int]:
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


def write_examples(run: Path, step: int, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Write examples/step-NNNNNNNN.png, whole or not at all; gives the sheet."""
    return write_sheet(run / EXAMPLES / f"step-{step:08d}.png", pictures, f"step {step}   {LEGEND}")


def write_sheet(path: Path, pictures: Sequence[NDArray[np.uint8]], title: str) -> NDArray[np.uint8]:
    """Write pictures as one sheet under a title; gives the sheet."""
    sheet = tile_pictures(pictures)
    strip = np.zeros((TITLE_PX, *sheet.shape[1:]), np.uint8)
    strip[:, :TITLE_WIDTH_PX] = write_caption(strip[:, :TITLE_WIDTH_PX], title)
    sheet = np.concatenate([strip, sheet])
    save_picture(path, sheet)
    return sheet
