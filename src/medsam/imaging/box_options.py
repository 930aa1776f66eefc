"""How boxes come from markers: the one place of these choices and of their defaults; nothing heavy is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from medsam.errors import PromptError

BetweenSlices = Literal["round", "linear", "legacy"]
# The rectangle over two lines undershoots an object whose axes lie obliquely, and the model rarely leaves its box. The model sees a slice
# 256 pixels long, so the margin is a share of the slice: 5 of those pixels, chosen against 4 and 6 and against 5 of the slice's own
# (docs/annotation.md). The released code adds 5 pixels of the slice twice: when the rectangle is made, and when the box is read from it.
MARGIN_SHARE = 5 / 256
RELEASED_MARGIN_PX = 5.0


@dataclass(frozen=True)
class BoxOptions:
    """How boxes come from markers.

    Args:
        interpolation: Between marked slices sides move in a straight line, wider in the middle ("round") or not ("linear"), or by the released
            distance maps, which shrink boxes.
        margin_px: Added to every side of a box, in pixels of the slice, twice for legacy; 0 is the bare rectangle over the lines. Without
            it, 5 pixels of a slice of 256 and the same share of any other; 5 pixels for legacy.
        max_gap: Marked slices further apart than this are not bridged.

    Raises:
        PromptError: another interpolation, a negative margin, or a gap below 1.
    """

    interpolation: BetweenSlices = "round"
    margin_px: float | None = None
    max_gap: int | None = None

    def __post_init__(self) -> None:
        if self.interpolation not in get_args(BetweenSlices):
            raise PromptError(
                f"interpolation is {self.interpolation!r}", expected="round, linear or legacy", fix="choose one of them"
            )
        if self.margin_px is not None and not (isfinite(self.margin_px) and self.margin_px >= 0):
            raise PromptError(f"margin is {self.margin_px} px", expected="0 or more", fix="pass --margin-px 5")
        if self.max_gap is not None and self.max_gap < 1:
            raise PromptError(f"max gap is {self.max_gap} slices", expected="1 or more", fix="pass --max-gap 10")

    def find_margin(self, size_hw: tuple[int, int]) -> float:
        """The margin on slices of this height and width, in their pixels."""
        if self.margin_px is not None:
            return self.margin_px
        return RELEASED_MARGIN_PX if self.interpolation == "legacy" else MARGIN_SHARE * max(size_hw)
