"""The next click, on squares whose errors are known."""

from __future__ import annotations

import numpy as np

from medsam.evaluation.clicks import add_clicks
from medsam.evaluation.targets import PromptedTargets


def square(*places):
    mask = np.zeros((40, 60), bool)
    for place in places:
        mask[place] = True
    return mask


def test_a_click_goes_where_the_answer_is_wrong_most_and_a_right_answer_gets_none():
    right = square(np.s_[10:20, 10:20])
    targets = PromptedTargets(
        {0: square(np.s_[10:20, 10:30]), 4: right, 5: right},
        points=[[(12.0, 14.0)], [(14.0, 14.0)], [(14.0, 14.0)]],
    )
    answers = np.stack([right, square(np.s_[10:20, 10:20], np.s_[30:37, 40:47], np.s_[0:2, 0:2]), right])
    after = add_clicks(targets, answers)
    assert [len(clicks) for clicks in after.points] == [2, 2, 1]
    x, y = after.points[0][1]
    assert 22 <= x <= 27  # deep in the ten columns that were missed
    assert 13 <= y <= 16
    assert after.points[1][1] == (43.0, 33.0)  # the middle of the larger square that is too much
    assert after.point_labels == [[1, 1], [1, 0], [1]]
    again = add_clicks(after, answers)
    assert [len(clicks) for clicks in again.points] == [3, 3, 1]
    assert again.point_labels[1] == [1, 0, 0]
