"""The filled box, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.baselines.filled_box import FilledBox
from medsam.errors import PromptError


def test_a_box_is_answered_with_its_pixels_and_a_click_refused():
    box = FilledBox()
    shape = box.embed(np.zeros((20, 30, 3), np.uint8))
    masks, scores = box.decode(shape, boxes=np.array([[2.0, 3.0, 5.0, 9.0], [0.0, 0.0, 30.0, 20.0]]))
    assert masks.shape == (2, 20, 30)
    assert np.argwhere(masks[0]).min(axis=0).tolist() == [3, 2]
    assert masks[0].sum() == 4 * 7
    assert masks[1].all()
    assert np.isnan(scores).all()
    with pytest.raises(PromptError, match="no box"):
        box.decode(shape, points=[[(1.0, 1.0)]], point_labels=[[1]])
