"""Which label a palette index means: palettes say how a picture is shown, and label maps are shown in many ways.

Index 0 is the background. A palette can turn that round for the eye: a picture of two colours whose index 0 is white
shows the object in the other way than its numbers say. Such a picture is read as a person sees it where one of the
colours is black, and is refused where it can be read both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError

BLACK = (0, 0, 0)
BAND_PIXELS = 1 << 20  # computed at a time


def read_palette_labels(
    indices: NDArray[np.unsignedinteger], colors_N3: NDArray[np.uint8], path: Path, *, from_imagej: bool = False
) -> NDArray[np.unsignedinteger]:
    """Take palette indices as labels.

    Args:
        indices: (D, H, W) as stored.
        colors_N3: (N, 3) the palette, transparent entries as black; indices beyond it are black.
        path: For the message.
        from_imagej: ImageJ wrote the file. Its tables of colours (LUTs) are a matter of taste: numbers alone count.

    Returns:
        (D, H, W): the indices; or 1 where a picture of black and one other colour is not black.

    Raises:
        InputFileError: index 0 is the brighter of two colours, or a label is black, so that it can be read both ways.
    """
    used = find_used(indices)
    colors = np.zeros((max(len(colors_N3), int(used[-1]) + 1), 3), dtype=np.uint8)
    colors[: len(colors_N3)] = colors_N3
    two_valued = set(used.tolist()) <= {0, 255}
    if from_imagej or _is_ramp(colors):
        return (indices > 0).view(np.uint8) if two_valued else indices
    if tuple(colors[0]) == BLACK or (_is_ramp(colors[::-1]) and not two_valued):
        return indices
    tones = np.unique(colors, axis=0)
    if len(tones) > 2:  # a table with colours to spare: those that are used, and that of the background
        tones = np.unique(colors[[0, *used]], axis=0)
        if len(tones) == 1:
            return indices
    if tuple(tones[0]) == BLACK and len(tones) == 2 and not _is_ramp(colors[::-1]):
        shown: NDArray[np.uint8] = (colors != BLACK).any(axis=1).astype(np.uint8)[indices]
        return shown
    if tuple(tones[0]) == BLACK or (len(tones) <= 2 and _looks_turned(colors[0], tones)):
        raise explain_two_readings(path, "a palette whose index 0 is not the dark colour")
    return indices


def iter_bands(values: np.ndarray) -> Iterator[np.ndarray]:
    """Views of some rows (h, W[, C]) of (D, H, W[, C]) at a time, so that what is computed of them stays small."""
    step = max(BAND_PIXELS // values.shape[2], 1)
    for plane in values:
        for top in range(0, values.shape[1], step):
            yield plane[top : top + step]


def _looks_turned(first_3: NDArray[np.uint8], tones_N3: NDArray[np.uint8]) -> bool:
    """Whether the background is the brighter of two colours; a coloured object on grey or white paper is none."""
    brightest = int(first_3.sum()) == int(tones_N3.sum(axis=1).max())
    on_paper = bool((first_3 == first_3[0]).all()) and sum(len({*tone}) > 1 for tone in tones_N3.tolist()) == 1
    return brightest and not on_paper


def explain_two_readings(path: Path, what: str) -> InputFileError:
    """The error for a mask whose numbers and whose looks disagree on what the object is; the caller raises it."""
    return InputFileError(
        f"{path} has {what}: object and background could be taken for each other",
        expected="labels as grey values or palette indices with 0, shown black, as background",
        fix="save it as 8-bit grey, 0 for background and 255 or the label's number for the object",
    )


def find_used(indices: NDArray[np.unsignedinteger]) -> NDArray[np.intp]:
    """The values that occur, ascending; without the copies that np.unique makes of a large picture."""
    seen = np.zeros(np.iinfo(indices.dtype).max + 1, dtype=bool)
    for band in iter_bands(indices):
        seen[band] = True
    return np.flatnonzero(seen)


def _is_ramp(colors_N3: NDArray[np.uint8]) -> bool:
    """Whether a palette is grey from black up to white, as without a palette."""
    return len(colors_N3) == 256 and bool((colors_N3 == np.arange(256)[:, None]).all())
