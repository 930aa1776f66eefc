"""Colours of labels: a label's own, else the one it always gets."""

from __future__ import annotations

from medsam.imaging.palette import PALETTE, choose_color


def test_a_label_always_gets_the_same_colour_and_neighbours_differ() -> None:
    assert choose_color(1) == PALETTE[0] == (230, 25, 75)
    assert choose_color(1 + len(PALETTE)) == PALETTE[0]
    assert len({choose_color(label) for label in range(1, 1 + len(PALETTE))}) == len(PALETTE)


def test_a_colour_of_its_own_comes_first() -> None:
    assert choose_color(2, {2: (1, 2, 3)}) == (1, 2, 3)
    assert choose_color(3, {2: (1, 2, 3)}) == PALETTE[2]
