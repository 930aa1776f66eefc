"""Labels as they are painted, slice by slice; the one rule for pixels that several objects claim.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Overlap = Literal["later", "certain"]
KEPT = np.iinfo(np.uint32).max  # rank of a pixel that nothing may take


@dataclass(eq=False)
class Canvas:
    """A label volume, painted in place; prompts may come in any order.

    Args:
        labels_DHW: What is there before: 0, or the labels of a previous mask.
        overlap: A pixel that several objects claim goes to the "later" prompt, or to the more "certain" one, that of the
            highest logit (of equal ones, the later).
        redrawn: Slice to the labels that are painted anew there. Their pixels are emptied first; those of other labels
            stay as they are.
    """

    labels_DHW: np.ndarray
    overlap: Overlap = "later"
    redrawn: Mapping[int, Collection[int]] = field(default_factory=dict)
    _ranks: dict[int, NDArray[np.uint32]] = field(default_factory=dict)
    _logits: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def paint(self, index: int, label: int, logits_HW: NDArray[np.float32], rank: int) -> None:
        """Add one object to one slice.

        Args:
            index: Of the slice.
            label: To paint.
            logits_HW: (H, W), above 0 inside the object.
            rank: Place of its prompt among all, from 1.
        """
        if index not in self._ranks:
            self._open(index)
        ranks_HW, wins = self._ranks[index], logits_HW > 0
        if self.overlap == "later":
            wins &= ranks_HW < rank
        else:
            best_HW = self._logits[index]
            wins &= (logits_HW > best_HW) | ((logits_HW == best_HW) & (ranks_HW < rank))
            best_HW[wins] = logits_HW[wins]
        ranks_HW[wins] = rank
        self.labels_DHW[index][wins] = label

    def _open(self, index: int) -> None:
        plane = self.labels_DHW[index]
        plane[np.isin(plane, list(self.redrawn.get(index, ())))] = 0
        self._ranks[index] = np.where(plane > 0, np.uint32(KEPT), np.uint32(0))
        if self.overlap == "certain":
            self._logits[index] = np.where(plane > 0, np.float32(np.inf), np.float32(0))

    def close(self, index: int) -> None:
        """Forget what is only needed while a slice is painted."""
        self._ranks.pop(index, None)
        self._logits.pop(index, None)
