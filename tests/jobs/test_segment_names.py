"""Names and colours as a user gives them."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.imaging.prompts import Prompt
from medsam.jobs.segment_names import name_prompts, parse_color

PROMPTS = [
    Prompt(label=7, box=(1, 1, 9, 9), name="filed"),
    Prompt(label=2, box=(1, 1, 9, 9)),
    Prompt(label=7, points=((3, 3),), point_labels=(1,)),
]


def test_values_go_to_the_labels_in_ascending_order_or_by_label():
    assert [p.name for p in name_prompts(PROMPTS, ["cyst"], [])] == ["filed", "cyst", None]
    assert [p.name for p in name_prompts(PROMPTS, ["cyst", "tumor"], [])] == ["tumor", "cyst", "tumor"]
    assert [p.name for p in name_prompts(PROMPTS, ["7=a=b"], [])] == ["a=b", None, "a=b"]
    assert [p.color for p in name_prompts(PROMPTS, [], ["7=#0000ff"])] == [(0, 0, 255), None, (0, 0, 255)]


@pytest.mark.parametrize("names", [["a", "b", "c"], ["3=a"]])
def test_a_value_without_a_label_is_refused(names):
    with pytest.raises(PromptError, match="labels 2, 7"):
        name_prompts(PROMPTS, names, [])


def test_colors_are_hexadecimal_or_three_numbers():
    assert parse_color("#FF8800") == parse_color("255, 136,0") == (255, 136, 0)
    for bad in ("red", "#fff", "1,2", "256,0,0", ""):
        with pytest.raises(PromptError, match="#rrggbb"):
            parse_color(bad)
