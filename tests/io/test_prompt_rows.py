"""One row of a file of prompts: its keys, and values that no image has."""

from __future__ import annotations

from pathlib import Path

import pytest
from patient_grid import save

from medsam.errors import InputFileError, PromptError
from medsam.imaging.prompts import Prompt
from medsam.io.prompts import read_prompts


def test_keys_and_corners_as_others_write_them(tmp_path: Path) -> None:
    rows = [
        {"bbox": [30, 40, 10, 20], "label": "liver", "color": "#ff8000"},
        {"box": [1, 2, 3, 4], "label": "lesion", "name": "metastasis", "color": [1, 2, 3]},
        {"box": [5, 5, 9, 9], "label": "liver", "points": [[6, 6], [1, 1]], "point_labels": [1, 0], "slice": 2.0},
        {"box": [5, 5, 9, 9], "label": "7", "code": "SCT:78961009"},
    ]
    first, second, third, fourth = read_prompts(save(tmp_path / "p.json", rows))
    assert first == Prompt(label=1, box=(10, 20, 30, 40), name="liver", color=(255, 128, 0))
    assert second == Prompt(label=2, box=(1, 2, 3, 4), name="metastasis", color=(1, 2, 3))
    assert (third.label, third.points, third.point_labels, third.slice) == (1, ((6, 6), (1, 1)), (1, 0), 2)
    assert (fourth.label, fourth.name, fourth.code) == (7, "Spleen", ("SCT", "78961009", "Spleen"))
    columns = "label,x0,y0,x1,y1,name,color,code\n"
    (tmp_path / "p.csv").write_text(f"{columns}3,1,2,3,4,left lobe,#010203,99LOCAL:A1:Left lobe\n")
    (row,) = read_prompts(tmp_path / "p.csv")
    assert row == Prompt(3, box=(1, 2, 3, 4), name="left lobe", color=(1, 2, 3), code=("99LOCAL", "A1", "Left lobe"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", "[" * 100_000, "nested too deeply"),
        ("p.json", '{"prompts": [{"box": [1, 1, 9, 9], "label": Infinity}]}', "label is inf"),
        ("p.json", '{"prompts": [{"box": [1, 1, 9, 9], "label": true}]}', "label is no whole number"),
        ("p.json", '{"prompts": [{"box": [1, 1, 9, 1' + "0" * 400 + "]}]}", "too large"),
        ("p.json", '{"prompts": [{"box": [1, 1, 9, 1e308]}]}', "that no image has"),
        ("p.json", '{"prompts": [{"box": [NaN, 1, 9, 9]}]}', "that no image has"),
        ("p.json", '{"prompts": [{"points": [[1, 2, 0.5]]}]}', "inside"),
        ("p.json", '{"prompts": [{"points": {"a": 1}}]}', "no list"),
        ("p.json", '{"prompts": [{"box": [1, 2, 3, 4], "code": "SCT:1"}]}', "SCHEME:VALUE:MEANING"),
        ("p.json", '{"annotations": [{"image_id": {}, "bbox": [1, 2, 3, 4]}], "images": [{"id": 1}]}', "annotation 1"),
        ("p.json", '{"shapes": [3]}', "shape 1"),
        ("p.csv", "x,y\n1,2,3\n", "more cells"),
        ("p.csv", "x,y,positive\n1,2,1e999\n", "that no image has"),
        ("p.csv", "x,y\n1,\0\n", "line 2"),
    ],
)
def test_absurd_prompts_are_refused_in_one_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises((InputFileError, PromptError), match=said) as caught:
        read_prompts(save(tmp_path / name, text))
    assert "\n" not in str(caught.value)
