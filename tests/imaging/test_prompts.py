"""Prompts: what a person drew, from flags and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medsam.errors import InputFileError, PromptError
from medsam.imaging.prompts import Prompt, parse_box, parse_point, place, prompts_from_drawing
from medsam.io.prompts import read_prompts


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
    assert place(prompt, 1).slice == 0
    with pytest.raises(PromptError, match="--slice"):
        place(prompt, 20)


def test_slice_that_is_not_there_is_refused() -> None:
    with pytest.raises(PromptError, match="0 to 19"):
        place(Prompt(box=(0, 0, 1, 1), slice=20), 20)


def test_json_prompts(tmp_path: Path) -> None:
    rows = [
        {"box": [1, 2, 3, 4], "slice": 5},
        {"points": [[1, 2], [3, 4, 0]], "slice": 6, "label": 7, "image": "a.png"},
    ]
    (tmp_path / "p.json").write_text(json.dumps({"prompts": rows}))
    first, second = read_prompts(tmp_path / "p.json")
    assert (first.label, first.slice, first.box) == (1, 5, (1, 2, 3, 4))
    assert (second.label, second.image, second.points, second.point_labels) == (7, "a.png", ((1, 2), (3, 4)), (1, 0))


def test_csv_prompts_number_boxes_per_image_and_join_points(tmp_path: Path) -> None:
    lines = [
        "image,slice,label,x0,y0,x1,y1,x,y,positive",
        "a.png,,,1,2,3,4,,,",
        "a.png,,,5,6,7,8,,,",
        "b.png,,,1,2,3,4,,,",
        "b.png,,2,,,,,9,9,",
        "b.png,,2,,,,,8,8,0",
    ]
    (tmp_path / "p.csv").write_text("\n".join(lines))
    prompts = read_prompts(tmp_path / "p.csv")
    assert [(p.image, p.label) for p in prompts] == [("a.png", 1), ("a.png", 2), ("b.png", 1), ("b.png", 2)]
    assert prompts[3].points == ((9, 9), (8, 8))
    assert prompts[3].point_labels == (1, 0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", "{", "not JSON"),
        ("p.json", '{"prompts": 3}', "no list"),
        ("p.json", '{"prompts": []}', "no prompt"),
        ("p.json", '{"prompts": [{"bix": [1]}]}', "unknown keys"),
        ("p.json", '{"prompts": [{"box": [1, 2, "x", 4]}]}', "prompt 1"),
        ("p.json", '{"prompts": [{"box": [1, 2, 3, 4], "label": 0}]}', "label is 0"),
        ("p.csv", "a,b\n1,2\n", "columns"),
        ("p.csv", "x0,y0,x1,y1\n1,2,3,\n", "line 2"),
        ("p.csv", "", "columns"),
        ("p.txt", "x", "suffix"),
    ],
)
def test_bad_prompt_files_say_where(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises((InputFileError, PromptError), match=said):
        read_prompts(tmp_path / name)


def test_missing_prompt_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        read_prompts(tmp_path / "none.json")


def test_a_label_that_no_mask_holds_is_refused() -> None:
    with pytest.raises(PromptError, match="label is 65536"):
        Prompt(label=65536, box=(1, 1, 2, 2))
