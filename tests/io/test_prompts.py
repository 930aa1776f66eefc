"""Prompts from files of our own: JSON and CSV, and what is said of bad ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from medsam.errors import InputFileError, PromptError
from medsam.imaging.image import Grid
from medsam.io.prompts import needs_grid, read_prompts


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


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.json")
    with pytest.raises(InputFileError, match="a pipe"):
        read_prompts(tmp_path / "p.json")


@pytest.mark.parametrize("name", ["F.mrk.json", "seeds.json"])
def test_positions_of_slicer_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    points = [{"id": "1", "position": [-4, -3, 6]}]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
    (tmp_path / name).write_text(json.dumps({"markups": [markup]}))
    (tmp_path / "pixels.json").write_text(json.dumps([{"box": [1, 2, 3, 4]}]))
    assert needs_grid(tmp_path / name)
    assert not needs_grid(tmp_path / "pixels.json")
    assert not needs_grid(tmp_path / "boxes.csv")
    affine = np.array([[0, 0, -1, 0], [0, -1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    (prompt,) = read_prompts(tmp_path / name, Grid((5, 8, 9), affine=affine))
    assert (prompt.slice, prompt.points) == (3, ((4, 3),))
