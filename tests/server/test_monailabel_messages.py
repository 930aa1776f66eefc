"""What MONAI Label's clients send: reversed boxes, points, and what is no request."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.server.monailabel_messages import prompts_of, read_params

SHAPE = (6, 40, 48)


def test_a_box_with_its_sides_reversed_is_the_same_box_cut_to_the_volume() -> None:
    [solid] = prompts_of({"roi": [30, 12, 20, 10, 9, 1]}, 3, SHAPE)
    assert solid.box_3d == (12, 10, 1, 30, 20, 5)


def test_points_lie_on_their_slices_and_in_two_dimensions_on_one() -> None:
    params = {"foreground": [[5, 6, 2], [7, 8, 3]], "background": [[1, 1, 2]], "slice": 2}
    two, three = prompts_of(params, 3, SHAPE)
    assert (two.slice, two.points, two.point_labels) == (2, ((5, 6), (1, 1)), (1, 0))
    assert (three.slice, three.points) == (3, ((7, 8),))
    [flat] = prompts_of(params, 2, SHAPE)
    assert flat.points == two.points


@pytest.mark.parametrize("params", [{}, {"foreground": [["a", 1, 2]]}, {"roi": ["x"] * 6}])
def test_what_cannot_be_drawn_is_refused(params: dict[str, object]) -> None:
    with pytest.raises(PromptError):
        prompts_of(params, 3, SHAPE)


@pytest.mark.parametrize("sent", ["[1]", "{", "null", "[" * 100_000, '{"label": "\\ud800"}'])
def test_params_are_a_json_object(sent: str) -> None:
    with pytest.raises(PromptError, match="no JSON object"):
        read_params(sent)
