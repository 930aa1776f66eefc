"""The one record: written whole, read back by mask, and silent where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medsam.imaging.prompts import Prompt
from medsam.jobs.record import MaskRun, read_record, write_record

RUN = MaskRun(
    "in/a.png", Path("out/a.png"), (Prompt(label=2, slice=3, box=(1, 2, 3, 4), name="cyst"),), (0.87654321,),
    {"total": 1.23456789}, {2: 40}, (Path("m.csv"),),
)  # fmt: skip


def test_a_row_says_what_was_asked_and_what_came(tmp_path):
    write_record(tmp_path / "r.json", {"weights": "abc", "window": "lung"}, [RUN.as_row()])
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["weights"] == "abc"
    assert record["runs"] == [
        {
            "source": "in/a.png", "output": "out/a.png", "markers": ["m.csv"],
            "prompts": [{"label": 2, "slice": 3, "box": [1, 2, 3, 4], "name": "cyst"}],
            "scores": [0.8765], "seconds": {"total": 1.2346}, "voxels": {"2": 40},
        }
    ]  # fmt: skip


def test_a_row_of_an_earlier_run_keeps_what_that_run_shared(tmp_path):
    write_record(tmp_path / "r.json", {"weights": "abc", "window": "lung", "model": {}}, [RUN.as_row()])
    record = read_record(tmp_path / "r.json")
    row = record.find_row(Path("out/a.png"))
    assert (row["weights"], row["window"], row["voxels"]) == ("abc", "lung", {"2": 40})
    assert "model" not in row
    assert record.find_row(Path("out/b.png")) is None


@pytest.mark.parametrize("text", ["", "[1]", '{"runs": 3}', '{"runs": [7]}', "{" * 100_000])
def test_a_damaged_record_knows_nothing(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    assert read_record(tmp_path / "r.json").find_row(Path("out/a.png")) is None
    assert read_record(tmp_path / "none.json").rows == {}
