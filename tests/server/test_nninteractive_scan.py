"""The object a client works on: which way its slices run, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from bright import bright_predictor

from medsam.errors import PromptError
from medsam.imaging.image import Grid, Image
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.server.nninteractive_scan import MAX_DRAWN, MAX_UNDO, Drawn, InteractiveScan


def scan(spacing_mm: tuple[float, float, float] | None = None) -> InteractiveScan:
    values = np.zeros((5, 40, 48), np.uint8)
    values[1:4, 10:20, 12:30] = 200
    one = InteractiveScan()
    one.begin(Image(values, Grid(values.shape, spacing_mm), normalized=True))
    one.dtype = "int16"
    return one


def test_slices_are_the_thickest_until_something_flat_was_drawn() -> None:
    assert scan().axis == 0 and scan((1, 1, 1)).axis == 0 and scan((1, 1, 3)).axis == 2
    one = scan((1, 1, 3))
    one.draw(Drawn(1))
    assert one.axis == 1
    one.forget()
    assert one.axis == 2


def test_undo_goes_back_step_by_step_and_forgets_the_oldest() -> None:
    one = scan()
    for n in range(MAX_UNDO + 3):
        after = one.mask.copy()
        after[0, 0, n] = True
        assert one.change(after) == ((0, 1), (0, 1), (n, n + 1))
    assert one.change(one.mask.copy()) is None
    for n in reversed(range(3, MAX_UNDO + 3)):
        assert one.undo() == (True, ((0, 1), (0, 1), (n, n + 1)))
        assert one.mask.sum() == n
    assert one.undo() == (False, None)
    assert one.part(((0, 1), (0, 1), (0, 4))).tolist() == [[[1, 1, 1, 0]]] and one.part(((0, 1),) * 3).dtype == np.int16


def test_what_cannot_be_answered_leaves_the_object_as_it_was(tmp_path) -> None:
    one, cache = scan(), EmbeddingCache(tmp_path)
    outside = Drawn(0, (Prompt(1, slice=2, points=((4, 4),), point_labels=(0,)),))
    one.draw(outside)
    with pytest.raises(PromptError, match="inside"):
        one.predict(bright_predictor(), cache)
    one.take_back(outside)
    assert not one.waits and not one.mask.any()
    with pytest.raises(PromptError, match="too many"):
        one.draw(Drawn(0, outside.prompts * (MAX_DRAWN + 1)))
