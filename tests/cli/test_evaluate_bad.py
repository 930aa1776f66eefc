"""`medsam evaluate` and `medsam report` on what goes wrong in practice: named, counted, and told by the exit code."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.cli.app import run

BOX = "box=medsam.baselines.filled_box:FilledBox"


@pytest.fixture
def folder(tmp_path):
    """Two pictures of a square of class 1; the second belongs to another patient."""
    root = tmp_path / "us_squares"
    for place in ("images", "masks"):
        (root / place).mkdir(parents=True)
    labels = np.zeros((40, 48), np.uint8)
    labels[10:30, 12:32] = 1
    for name in ("a", "b"):
        Picture.fromarray(labels * 200).save(root / f"images/{name}.png")
        Picture.fromarray(labels).save(root / f"masks/{name}.png")
    return root


def read_table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_that_number_classes_otherwise_or_are_empty_are_told_apart(folder, tmp_path, capsys):
    labels = np.asarray(Picture.open(folder / "masks/a.png"))
    (tmp_path / "theirs").mkdir()
    Picture.fromarray(labels * 7).save(tmp_path / "theirs/a.png")
    Picture.fromarray(labels * 0).save(tmp_path / "theirs/b.png")  # an honest miss
    command = ["evaluate", str(folder), "--models", f"theirs=predictions:{tmp_path / 'theirs'},{BOX}"]
    assert run([*command, "-o", str(tmp_path / "run")]) == 3
    said = capsys.readouterr().err
    assert "theirs: 1 targets failed and count as 0: a prediction of the labels 7 where the expert has 1" in said
    rows = [row for row in read_table(tmp_path / "run/rows.csv") if row["method"] == "theirs"]
    assert [(row["dice"], bool(row["fault"])) for row in rows] == [("0.000000", True), ("0.000000", False)]
    assert run(["report", str(tmp_path / "run"), "-o", str(tmp_path / "report"), "--rounds", "20"]) == 3
    [failure] = read_table(tmp_path / "report/tables/failures.csv")
    assert (failure["Model"], failure["Cases"]) == ("theirs", "1")
    assert [row["Failed"] for row in read_table(tmp_path / "report/tables/medians-dice.csv")] == ["1"]
    assert {r["Model"]: r["Failed"] for r in read_table(tmp_path / "report/tables/ranks-dice.csv")} == {
        "theirs": "1", "box": "0",
    }  # fmt: skip


def test_one_case_and_nothing_but_ties_have_no_stars_and_share_their_ranks(folder, tmp_path):
    (folder / "images/b.png").unlink()
    models = f"{BOX},same=medsam.baselines.filled_box:FilledBox"
    assert run(["evaluate", str(folder), "--models", models, "-o", str(tmp_path / "run")]) == 0
    assert run(["report", str(tmp_path / "run"), "-o", str(tmp_path / "report"), "--rounds", "20"]) == 0
    [pair] = read_table(tmp_path / "report/tables/comparisons-dice.csv")
    assert (pair["Cases"], pair["Groups"], float(pair["p"]), pair["Stars"]) == ("1", "1", 1.0, "")
    assert float(pair["Median difference"]) == 0
    ranks = read_table(tmp_path / "report/tables/ranks-dice.csv")
    assert [(float(row["Mean rank"]), float(row["Wins"])) for row in ranks] == [(1.5, 0.5)] * 2


def test_a_time_limit_that_passes_is_a_row_with_the_reason(folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "endless.py").write_text(
        "from medsam.baselines.filled_box import FilledBox\n"
        "class Endless(FilledBox):\n"
        "    def embed(self, rgb):\n"
        "        while True: pass\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", str(folder), "--models", "endless:Endless", "--timeout-seconds", "0.1"]
    assert run([*command, "-o", str(tmp_path / "run")]) == 3
    assert "2 targets failed and count as 0: no answer within 0.1 s" in capsys.readouterr().err
    shutil.rmtree(folder / "masks")
    assert run([*command, "-o", str(tmp_path / "none")]) == 1
    assert "no index.csv" in capsys.readouterr().err
