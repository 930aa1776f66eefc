"""Simulated corrections: one more click a target, where the answer is wrong most.

Shapes: H rows, W columns of the slice, N targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.evaluation.targets import EIGHT, PromptedTargets
from medsam.imaging.clicks import find_innermost_point


def add_clicks(targets: PromptedTargets, masks_NHW: NDArray[np.bool_]) -> PromptedTargets:
    """Add a click to every target: deepest inside the largest wrong region, as a reader corrects; a right answer gets none.

    Args:
        targets: With clicks.
        masks_NHW: What a model answered to them, (N, H, W) bool.

    Source: Sofiiuk et al. 2022 (the next click of interactive evaluation).
    """
    points, labels = [], []
    given = targets.points or [[] for _ in targets.masks]
    told = targets.point_labels or [[1] * len(clicks) for clicks in given]
    for clicks, marks, expert, found in zip(given, told, targets.masks.values(), masks_NHW, strict=True):
        next_click, inside = _worst_point(expert, found)
        points.append([*clicks, *next_click])
        labels.append([*marks, *([int(inside)] if next_click else [])])
    return replace(targets, points=points, point_labels=labels)


def _worst_point(expert: NDArray[np.bool_], found: NDArray[np.bool_]) -> tuple[list[tuple[float, float]], bool]:
    components, count = ndimage.label(expert != found, structure=EIGHT)
    if not count:
        return [], True
    # a region that is partly missed and partly too much counts as what most of it is
    largest = components == int(np.bincount(components.reshape(-1))[1:].argmax()) + 1
    missed, extra = largest & expert, largest & ~expert
    inside = np.count_nonzero(missed) >= np.count_nonzero(extra)
    x, y = find_innermost_point(missed if inside else extra).tolist()
    return [(x, y)], bool(inside)
