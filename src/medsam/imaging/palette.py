"""The colours of labels that have none of their own: the one table for files, overlays and figures."""

from __future__ import annotations

from collections.abc import Mapping

Color = tuple[int, int, int]

# Colours that stay apart on grey images and on tissue; label i takes the colour (i - 1) modulo their number.
PALETTE: tuple[Color, ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128), (220, 190, 255), (170, 110, 40), (170, 255, 195),
    (128, 128, 0), (255, 215, 180),
)  # fmt: skip


def choose_color(label: int, colors: Mapping[int, Color] | None = None) -> Color:
    """Give the colour (r, g, b) of a label: its own where it has one, else the one that this label always gets.

    Args:
        label: Its id, 1 or more.
        colors: Label id to colour, for the labels that have one, as in Mask.colors.
    """
    return (colors or {}).get(label, PALETTE[(label - 1) % len(PALETTE)])
