"""`medsam report` as a user runs it, on predictions of which one is missing."""

from __future__ import annotations

import csv
import re
import shutil

import numpy as np
import pytest
from PIL import Image as Picture
from predicted_run import evaluate, write_data

from medsam.cli.app import run
from medsam.evaluation.pictures import EXPERT, FOUND
from medsam.imaging.overlay import BOX_COLOR


@pytest.fixture
def root(tmp_path, capsys):
    write_data(tmp_path)
    assert evaluate(tmp_path) == 3  # one prediction is missing
    assert "half: 1 targets failed and count as 0: no prediction" in capsys.readouterr().err
    return tmp_path


def report(root, *flags):
    return run(["report", str(root / "run"), "-o", str(root / "report"), "--rounds", "20", *flags])


def colors_of(path):
    return {tuple(color) for color in np.asarray(Picture.open(path)).reshape(-1, 3).tolist()}


def test_a_report_has_tables_figures_and_the_worst_cases_first(root, capsys):
    assert report(root, "--worst", "3") == 3
    said = capsys.readouterr()
    assert "1 rows count as failed" in said.err
    assert "| good | 1.0 |" in said.out
    out = root / "report"
    [row] = csv.DictReader((out / "tables/medians-dice.csv").open())
    assert (row["Data set"], row["Target"], row["Cases"], row["Failed"]) == ("us_discs", "disc", "4", "1")
    assert float(row["good"][:5]) > 0.9 > float(row["half"][:5])
    for name in ("boxes-dice", "podium-nsd", "significance-dice", "size-dice", "latency", "modalities", "grid-median"):
        for suffix in ("png", "svg", "pdf", "csv"):
            assert (out / f"figures/{name}.{suffix}").stat().st_size > 20, name
    assert not (out / "figures/calibration.png").exists()  # predictions have no score
    assert (out / "figures.pdf").read_bytes().startswith(b"%PDF")
    page = (out / "index.html").read_text()
    cases = re.findall(r"data-picture='(.*?)' data-caption='(.*?)'>(.*?)<", page)
    assert len(cases) == 6
    assert cases[0][2] == "3.png 0"
    assert cases[0][1].endswith("Dice 0.000, NSD 0.000 no prediction")
    assert {path for path, _, _ in cases} == {f"cases/{file.name}" for file in (out / "cases").iterdir()}


def test_a_case_shows_box_model_and_expert(root):
    assert report(root, "--worst", "0") == 3
    page = (root / "report/index.html").read_text()
    [shown] = re.findall(r"data-picture='([^']*)' data-caption='us_discs 0.png disc half", page)
    assert {EXPERT, FOUND, BOX_COLOR} < colors_of(root / "report" / shown)
    [lost] = re.findall(r"data-picture='([^']*)' data-caption='us_discs 3.png disc half", page)
    assert {EXPERT, BOX_COLOR} < colors_of(root / "report" / lost)
    assert FOUND not in colors_of(root / "report" / lost)


def test_a_report_replaces_another_on_request_alone(root, capsys):
    (root / "report").mkdir()
    (root / "report/index.html").write_text("mine")
    assert report(root) == 1
    assert "index.html exists already" in capsys.readouterr().err
    assert (root / "report/index.html").read_text() == "mine"
    assert report(root, "--overwrite") == 3
    assert "good" in (root / "report/index.html").read_text()
    assert run(["report", str(root / "run"), "-o", str(root / "run/rows.csv")]) == 1
    assert "rows.csv is a file" in capsys.readouterr().err


def test_images_that_went_are_counted_and_the_report_is_written(root, capsys):
    shutil.rmtree(root / "us_discs")
    assert report(root) == 3
    assert "8 pictures are missing" in capsys.readouterr().err
    assert "data-picture=" not in (root / "report/index.html").read_text()


def test_one_model_without_faults_is_reported_with_code_0(root, capsys):
    good = f"good=predictions:{root / 'good'}"
    assert run(["evaluate", str(root / "us_discs"), "-o", str(root / "one"), "--models", good]) == 0
    assert run(["report", str(root / "one"), "-o", str(root / "alone"), "--rounds", "5"]) == 0
    assert not (root / "alone/figures/podium-dice.png").exists()
    capsys.readouterr()
    assert run(["report", str(root / "one"), str(root / "run"), "-o", str(root / "twice")]) == 1
    assert "two rows of good for one case" in capsys.readouterr().err
    assert run(["report", str(root / "good"), "-o", str(root / "none")]) == 1
    assert "no rows.csv" in capsys.readouterr().err
