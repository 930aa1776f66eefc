"""Slices that were drawn by hand, in any plane: the model leaves them alone until they are released.

A state keeps them as numbers: slices along the first array axis from 0 on, then those along the second, then the third,
so that states saved before brushes worked in all planes still mean the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Drawn = Mapping[int, frozenset[int]]  # label to numbers


def number_of(shape_DHW: tuple[int, int, int], axis: int, index: int) -> int:
    """The number of a slice among those of all axes."""
    return sum(shape_DHW[:axis]) + index


def place_of(shape_DHW: tuple[int, int, int], number: int) -> tuple[int, int]:
    """The axis and the index of the slice of a number."""
    axis = sum(number >= end for end in accumulate(shape_DHW))
    return axis, number - sum(shape_DHW[:axis])


def by_axis(shape_DHW: tuple[int, int, int], drawn: Drawn) -> dict[int, dict[int, list[int]]]:
    """{label: {axis: slices}}, ascending, without axes that have none."""
    found: dict[int, dict[int, list[int]]] = {}
    for label, numbers in drawn.items():
        for number in sorted(numbers):
            axis, index = place_of(shape_DHW, number)
            found.setdefault(label, {}).setdefault(axis, []).append(index)
    return found


def with_slice(drawn: Drawn, labels: Iterable[int], number: int) -> dict[int, frozenset[int]]:
    """The drawn slices after labels were drawn on one more."""
    more = dict(drawn)
    for label in labels:
        more[label] = more.get(label, frozenset()) | {number}
    return more


def keep_drawn(before: NDArray[np.integer], after: NDArray[np.integer], drawn: Drawn) -> NDArray[np.uint16]:
    """Put back what was drawn by hand: on a drawn slice of a label its voxels neither go nor come.

    Args:
        before: (D, H, W).
        after: What the model made of it.
        drawn: Slices by label.
    """
    kept = after.astype(np.uint16, copy=bool(drawn))
    depth, height, width = before.shape
    for label, numbers in drawn.items():
        for number in numbers:
            axis, index = place_of((depth, height, width), number)
            old, new = np.moveaxis(before, axis, 0)[index], np.moveaxis(kept, axis, 0)[index]
            own = (old == label) | (new == label)
            new[own] = old[own]
    return kept


def keep_objects(
    before: NDArray[np.integer], after: NDArray[np.integer], labels: Collection[int]
) -> NDArray[np.uint16]:
    """Put back objects that are locked: their voxels neither go nor come."""
    kept = after.astype(np.uint16, copy=bool(labels))  # a copy of a large scan takes longer than the model's answer
    if labels:
        own = np.isin(before, list(labels)) | np.isin(after, list(labels))
        kept[own] = before[own]
    return kept


def release_changed(drawn: Drawn, label: int, before: NDArray[np.integer], after: NDArray[np.integer]) -> Drawn:
    """The drawn slices without those of a label on which a result changes it; its others stay."""
    changed = (before == label) != (after == label)
    depth, height, width = before.shape
    left = set()
    for number in drawn.get(label, ()):
        axis, index = place_of((depth, height, width), number)
        if not np.moveaxis(changed, axis, 0)[index].any():
            left.add(number)
    others = {n: own for n, own in drawn.items() if n != label}
    return {**others, label: frozenset(left)} if left else others
