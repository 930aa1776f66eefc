"""Prompts by their words, on a rectangle whose boxes are known."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.errors import DataError
from medsam.evaluation.prompting import PromptSpec, parse_prompt, prompt_again
from medsam.evaluation.targets import BoxNoise

HEIGHT, WIDTH = 512, 1024
TIGHT = (100.0, 200.0, 199.0, 259.0)


def masks():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[200:260, 100:200] = True
    return {3: mask}


def box_of(text, seed=0, sample="a.png"):
    given = prompt_again(masks(), text, BoxNoise(), dataset="us", sample=sample, seed=seed)
    assert list(given.masks) == [3]
    return None if given.boxes_N4 is None else tuple(given.boxes_N4[0].tolist())


def test_words_are_read_and_others_refused():
    assert parse_prompt("margin-7.5") == PromptSpec("margin", -7.5)
    assert parse_prompt("shift40") == PromptSpec("shift", 40.0)
    assert [parse_prompt(word).kind for word in ("box", "point", "axes")] == ["box", "point", "axes"]
    for wrong in ("margin", "margin20", "shift-3", "boxes", ""):
        with pytest.raises(DataError, match="the prompt"):
            parse_prompt(wrong)


def test_a_margin_moves_every_side_by_pixels_of_a_frame_of_1024():
    assert box_of("margin+20") == (80, 190, 219, 269)  # the slice is 512 rows high: 20 are 10 of them
    assert box_of("margin-20") == (120, 210, 179, 249)
    assert box_of("margin+0") == TIGHT
    assert box_of("margin+900") == (0, 0, WIDTH, HEIGHT)
    x0, y0, x1, y1 = box_of("margin-500")
    assert (x1 - x0, y1 - y0) == (1, 1)
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == (149.5, 229.5)


def test_a_shift_keeps_the_size_and_has_the_length_by_the_seed():
    boxes = {box_of("shift40", seed) for seed in range(8)}
    assert len(boxes) == 8
    for x0, y0, x1, y1 in boxes:
        assert (x1 - x0, y1 - y0) == pytest.approx((99, 59))
        assert np.hypot(x0 - 100, (y0 - 200) * 2) == pytest.approx(40)
    assert box_of("shift40", 1) == box_of("shift40", 1) != box_of("shift40", 1, "b.png")


def test_axes_give_the_rectangle_over_both_with_a_margin():
    x0, y0, x1, y1 = box_of("axes")
    assert (x0, y0, x1, y1) == pytest.approx((95, 195, 204, 264), abs=25)  # the short axis is not along a side
    assert x0 <= 95
    assert y0 <= 195


def test_a_point_is_inside_and_a_box_is_the_noisy_one():
    given = prompt_again(masks(), "point", BoxNoise(), dataset="us", sample="a", seed=0)
    x, y = given.points[0][0]
    assert masks()[3][int(y), int(x)]
    loose = box_of("box")
    assert loose != TIGHT
    assert loose[0] <= 100
    assert loose[3] >= 259
