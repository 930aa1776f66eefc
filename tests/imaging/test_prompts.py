"""Prompts: what a person drew, from flags and files."""

from __future__ import annotations

import pytest

from medsam.errors import PromptError
from medsam.imaging.prompts import Prompt, parse_box, parse_point, place, prompts_from_drawing


def test_boxes_become_labels_in_order() -> None:
    prompts = prompts_from_drawing([parse_box("1,2,3,4"), parse_box("5,6,7,8")], [], 9)
    assert [(p.label, p.slice, p.box) for p in prompts] == [(1, 9, (1, 2, 3, 4)), (2, 9, (5, 6, 7, 8))]


def test_points_refine_the_one_box() -> None:
    [prompt] = prompts_from_drawing([parse_box("1,2,30,40")], [parse_point("5,6"), parse_point("7,8,0")], None)
    assert (prompt.box, prompt.points, prompt.point_labels) == ((1, 2, 30, 40), ((5, 6), (7, 8)), (1, 0))


def test_points_with_two_boxes_are_refused() -> None:
    with pytest.raises(PromptError, match="several boxes"):
        prompts_from_drawing([(1, 2, 3, 4), (5, 6, 7, 8)], [(1, 1, 1)], None)


def test_six_numbers_are_a_3d_box() -> None:
    [prompt] = prompts_from_drawing([parse_box("1,2,3,4,5,6")], [], None)
    assert prompt.box_3d == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1;2;3;4", "1,2,3,4,5"])
def test_malformed_box_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(PromptError, match="four or six numbers"):
        parse_box(text)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "x,y"])
def test_malformed_point_is_refused(text: str) -> None:
    with pytest.raises(PromptError):
        parse_point(text)


def test_volume_prompt_needs_a_slice_and_a_flat_image_does_not() -> None:
    prompt = Prompt(box=(0, 0, 1, 1))
    assert place(prompt, (1, 5, 5)).slice == 0
    with pytest.raises(PromptError, match="--slice"):
        place(prompt, (20, 5, 5))


def test_slice_that_is_not_there_is_refused() -> None:
    with pytest.raises(PromptError, match="0 to 19"):
        place(Prompt(box=(0, 0, 1, 1), slice=20), (20, 5, 5))


def test_corners_are_kept_in_order() -> None:
    assert Prompt(box=(9, 2, 1, 8)).box == (1, 2, 9, 8)
    assert Prompt(box_3d=(9, 2, 5, 1, 8, 3)).box_3d == (1, 2, 3, 9, 8, 5)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 0, -1, 9, 9, 4), "runs from slice -1 to 4"),
        ((0, 0, 0, 9, 9, 10), "whole slices from 0 to 9"),
        ((0, 0, 0.5, 9, 9, 4), "runs from slice 0.5 to 4"),
        ((0, 0, float("nan"), 9, 9, 4), "whole slices"),
        ((5, 0, 0, 5, 9, 4), "empty"),
        ((0, 0, 0, 99, 9, 4), "leaves the image"),
        ((0.1, 0.2, 0, 0.5, 0.6, 4), "normalized coordinates"),
    ],
)
def test_a_3d_box_that_does_not_fit_is_refused(numbers: tuple[float, ...], said: str) -> None:
    with pytest.raises(PromptError, match=said):
        place(Prompt(box_3d=numbers), (10, 20, 30))  # type: ignore[arg-type]


def test_a_box_or_point_outside_its_slice_is_refused() -> None:
    with pytest.raises(PromptError, match="leaves the image"):
        place(Prompt(box=(0, 0, 31, 9), slice=0), (10, 20, 30))
    with pytest.raises(PromptError, match="leaves the image"):
        place(Prompt(points=((31, 9),), point_labels=(1,), slice=0), (10, 20, 30))


def test_a_label_that_no_mask_holds_is_refused() -> None:
    with pytest.raises(PromptError, match="label is 65536"):
        Prompt(label=65536, box=(1, 1, 2, 2))
