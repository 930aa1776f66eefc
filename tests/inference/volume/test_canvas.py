"""The one overlap rule, on three pixels."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.inference.volume.canvas import Canvas

STRONG, WEAK = np.full((1, 3), 5, np.float32), np.array([[1, -1, 9]], np.float32)


def canvas(overlap="later", before=(0, 0, 0), redrawn=()):
    return Canvas(np.array(before, np.uint8).reshape(1, 1, 3), overlap, {0: redrawn})


@pytest.mark.parametrize("turned", [False, True])
def test_the_later_prompt_or_the_more_certain_one_stays_in_whatever_order_they_are_painted(turned):
    strokes = [(7, WEAK, 2), (4, STRONG, 1)]
    later, certain = canvas(), canvas("certain")
    for one in (later, certain):
        for label, logits, rank in reversed(strokes) if turned else strokes:
            one.paint(0, label, logits, rank)
    assert later.labels_DHW.ravel().tolist() == [7, 4, 7]
    assert certain.labels_DHW.ravel().tolist() == [4, 4, 7]


@pytest.mark.parametrize("ranks", [(1, 2), (2, 1)])
def test_of_equal_logits_the_later_prompt_stays(ranks):
    one = canvas("certain")
    for label, rank in zip((7, 4), ranks, strict=True):
        one.paint(0, label, STRONG, rank)
    assert one.labels_DHW.ravel().tolist() == [4 if ranks == (1, 2) else 7] * 3


@pytest.mark.parametrize("overlap", ["later", "certain"])
def test_labels_drawn_anew_are_emptied_and_others_stay(overlap):
    one = canvas(overlap, before=(4, 4, 9), redrawn={4})
    one.paint(0, 4, np.array([[-1, 1, 50]], np.float32), 1)
    assert one.labels_DHW.ravel().tolist() == [0, 4, 9]
    one.close(0)
