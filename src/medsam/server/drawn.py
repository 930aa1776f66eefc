"""Slices that were drawn by hand, in any plane: the model leaves them alone until they are released.

A state keeps them as numbers: slices along the first array axis from 0 on, then those along the second, then the third,
so that states saved before brushes worked in all planes still mean the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.study.label_runs import LabelRuns

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


@dataclass(frozen=True, eq=False)
class Guard:
    """What the model may not change: slices drawn by hand, and objects that are locked.

    Args:
        shape: (D, H, W) of the case.
        drawn: Slices by label.
        kept: Labels that are locked.
    """

    shape: tuple[int, int, int]
    drawn: Drawn
    kept: Collection[int] = ()

    def over(self, before: LabelRuns, after: LabelRuns) -> LabelRuns:
        """A mask of the model with what it may not change put back."""
        if self.kept or any(self.drawn.values()):
            for k in after.changed(before):
                after = after.with_plane(0, k, self.over_plane(0, k, before.plane(0, k), after.plane(0, k)))
        return after

    def over_plane(
        self, axis: int, index: int, before_HW: NDArray[np.integer], after_HW: NDArray[np.integer]
    ) -> NDArray[np.integer]:
        """A slice of the model with what it may not change put back: voxels of a label neither go nor come."""
        found = after_HW.copy()
        if self.kept:
            _put_back(before_HW, found, list(self.kept))
        for label, numbers in self.drawn.items():
            for number in numbers:
                line = _line_in(self.shape, number, axis, index)
                if line is not None:
                    _put_back(before_HW[line], found[line], [label])
        return found

    def release(
        self, label: int, axis: int, index: int, before_HW: NDArray[np.integer], after_HW: NDArray[np.integer]
    ) -> Guard:
        """Without the drawn slices of a label on which a slice of the model changes it; its others stay."""
        changed = (before_HW == label) != (after_HW == label)
        own = self.drawn.get(label, frozenset())
        lines = {number: _line_in(self.shape, number, axis, index) for number in own}
        left = frozenset(n for n, line in lines.items() if line is None or not changed[line].any())
        others = {n: numbers for n, numbers in self.drawn.items() if n != label}
        return replace(self, drawn={**others, label: left} if left else others)


def _put_back(before: NDArray[np.integer], after: NDArray[np.integer], labels: list[int]) -> None:
    own = np.isin(before, labels) | np.isin(after, labels)
    after[own] = before[own]


def _line_in(shape_DHW: tuple[int, int, int], number: int, axis: int, index: int) -> tuple[slice, slice] | None:
    """Where a drawn slice meets a slice across an axis, as a window of the latter; None where they do not meet."""
    own, at = place_of(shape_DHW, number)
    if own == axis:
        return (slice(None), slice(None)) if at == index else None
    rows_first = own == min(other for other in range(3) if other != axis)
    line = slice(at, at + 1)
    return (line, slice(None)) if rows_first else (slice(None), line)
