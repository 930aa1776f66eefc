"""A case as a picture, in colours that say whose contour it is."""

from __future__ import annotations

import numpy as np

from medsam.evaluation.pictures import EXPERT, FOUND, MOST_PX, draw_example
from medsam.imaging.overlay import BOX_COLOR


def test_expert_model_and_box_have_their_colors() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    expert, found = np.zeros((2, 64, 64), bool)
    expert[10:30, 10:30], found[35:50, 35:50] = True, True
    picture = draw_example(pixels, [expert], [found], boxes=[(5.0, 5.0, 55.0, 55.0)], caption="")
    assert picture.shape == (512, 512, 3)
    assert tuple(picture[10 * 8, 20 * 8]) == EXPERT
    assert tuple(picture[35 * 8, 42 * 8]) == FOUND
    assert tuple(picture[5 * 8 + 4, 30 * 8]) == BOX_COLOR
    small = draw_example(np.zeros((900, 900, 3), np.uint8), [], [], boxes=[(400.0, 300.0, 431.0, 331.0)], caption="")
    assert small.shape == (80 * 7, 80 * 7, 3)  # 32 pixels of the box and 24 around, enlarged
    assert tuple(small[24 * 7 + 3, 40 * 7]) == BOX_COLOR
    large = draw_example(np.zeros((2000, 10, 3), np.uint8), [np.ones((2000, 10), bool)], [], boxes=[], caption="")
    assert MOST_PX >= len(large) > MOST_PX // 2
