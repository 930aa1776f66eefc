"""A simulated reader: draws long and short axis on every k-th slice of an expert mask, with a human hand's jitter.

The time model beside it is a model and no measurement: the paper prints that assisted annotation took 82.37 % and
82.95 % less time than drawing every slice, but no seconds (Results, "MedSAM can improve the annotation efficiency").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medsam.annotation.markers import Marker
from medsam.errors import PromptError
from medsam.imaging.axes import Axes, measure_axes
from medsam.imaging.image import Mask

STUDY_SAVED = (0.8237, 0.8295)  # paper: share of time saved, first and second expert


@dataclass(frozen=True)
class Reader:
    """How the reader draws.

    Args:
        every: Distance of marked slices; the first and the last slice of an object are always marked (paper: 3 to 10).
        jitter_mm: Standard deviation of each line end along x and y; in pixels where the spacing is unknown.
        seed: Of the jitter.
        widest: Also mark the slice with the longest axis, as for a RECIST measurement.
    """

    every: int = 5
    jitter_mm: float = 1.0
    seed: int = 0
    widest: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise PromptError(f"every is {self.every}", expected="1 or more slices", fix="pass --every 3 5 10")
        if not (np.isfinite(self.jitter_mm) and self.jitter_mm >= 0):
            raise PromptError(f"jitter is {self.jitter_mm} mm", expected="0 or more", fix="pass --jitter-mm 1")


@dataclass(frozen=True)
class TimeModel:
    """Assumed seconds; not from the paper, which prints none.

    Args:
        draw: To outline one slice by hand.
        mark: To draw both axes on one slice.
        check: To look at one slice of the result.
        correct: To correct one slice that needs it.
    """

    draw: float = 60.0
    mark: float = 10.0
    check: float = 3.0
    correct: float = 30.0

    def manual(self, slices: int) -> float:
        """Seconds to outline every slice."""
        return slices * self.draw

    def assisted(self, slices: int, marked: int, corrected: int, model: float) -> float:
        """Seconds to mark, wait for the model, look at every slice and correct those that need it."""
        return marked * self.mark + model + slices * self.check + corrected * self.correct


def draw_markers(mask: Mask, reader: Reader) -> list[Marker]:
    """Draw both axes of every label on every k-th slice of it.

    Args:
        mask: Expert labels, slices first; each label is one object.
        reader: How to draw.

    Raises:
        PromptError: the mask is empty.
    """
    if not mask.ids:
        raise PromptError("the expert mask is empty", expected="a label", fix="check that this is the right mask")
    _, height, width = mask.grid.shape
    spacing = mask.grid.spacing_mm or (1.0, 1.0, 1.0)
    jitter_xy = reader.jitter_mm / np.array([spacing[2], spacing[1]])
    markers = []
    for label in mask.ids:
        object_DHW = mask.labels == label
        slices = np.flatnonzero(object_DHW.any(axis=(1, 2))).tolist()
        axes_by_slice = {k: measure_axes(object_DHW[k], (spacing[1], spacing[2]), corners=False) for k in slices}
        marked = set(choose_slices(slices, reader.every))
        if reader.widest:
            marked.add(max(slices, key=lambda k: axes_by_slice[k].long))
        for index in sorted(marked):
            axes = axes_by_slice[index]
            rng = np.random.default_rng([reader.seed, label, index])
            ends = np.array(list(_ends(axes)))
            ends = np.clip(ends + rng.normal(size=ends.shape) * jitter_xy, 0, (width - 1, height - 1))
            points = tuple((float(x), float(y)) for x, y in ends)
            markers.append(Marker(label, index, points, mask.names.get(label)))
    return markers


def _ends(axes: Axes) -> Iterator[tuple[float, float]]:
    yield from axes.long_xy
    yield from axes.short_xy


def choose_slices(slices: list[int], every: int) -> list[int]:
    """Choose slices from the first to the last of an object, about `every` apart, both ends among them.

    Args:
        slices: Where the object is, ascending; slices it skips are never chosen.
        every: Wanted distance.
    """
    wanted = range(slices[0], slices[-1], every)
    return sorted({min(slices, key=lambda s: (abs(s - k), s)) for k in wanted} | {slices[-1]})
