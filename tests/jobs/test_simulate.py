"""The times and the table of a simulated reader."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.jobs.simulate import SimulatedScore, parse_times, render_markdown


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "0,1,1,1", "60,-1,3,1", "inf,1,1,1"])
def test_times_that_are_none_are_refused(text):
    with pytest.raises(PromptError):
        parse_times(text)


def test_the_table_ends_with_medians_and_sums():
    rows = [
        SimulatedScore("a", label, 3, 10, 4, dice, 0.5, 2, 1.0, manual_minutes=4, assisted_minutes=1, saved=0.75)
        for label, dice in ((1, 0.6), (2, 0.8))
    ]
    lines = render_markdown(rows).splitlines()
    assert lines[2] == "| a | 1 | 3 | 10 | 4 | 0.600 | 0.500 | 2 | 1.0 | 75% |"
    assert lines[4] == "| **median, sums** | 2 objects | 3 | 20 | 8 | **0.700** | **0.500** | 4 | | 75% |"
    assert len(render_markdown(rows[:1]).splitlines()) == 3
