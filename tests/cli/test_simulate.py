"""`medsam simulate` as a user runs it, on real weights."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import medsam
from medsam.cli.app import run
from medsam.cli.simulation import parse_times
from medsam.errors import PromptError
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import write_mask
from medsam.models.catalog import fetch


@pytest.fixture
def pair(tmp_path):
    """Four slices with a bright tube in 8-bit, and its expert mask, as NRRD-like NIfTI without a modality."""
    fetch("lite-medsam")
    y, x = np.mgrid[:80, :80]
    labels = np.zeros((4, 80, 80), np.uint8)
    for k in range(4):
        labels[k][(x - 36 - 2 * k) ** 2 + (y - 40) ** 2 <= 15**2] = 1
    grid = Grid(labels.shape, spacing_mm=(3, 1, 1))
    np.savez(
        tmp_path / "case.npz",
        imgs=np.where(labels, 190, 60).astype(np.uint8),
        gts=labels,
        spacing=np.array([1.0, 1.0, 3.0]),
    )
    write_mask(Mask(labels, grid), tmp_path / "other.nii.gz")
    return tmp_path / "case.npz"


def test_reader_pipeline_and_scores(pair, tmp_path, capsys):
    out = tmp_path / "sim"
    assert run(["simulate", str(pair), str(pair), "--every", "3", "--jitter-mm", "0.5", "-o", str(out)]) == 0
    assert "| case | 1 | 3 | 4 | 2 |" in capsys.readouterr().out
    [row] = csv.DictReader((out / "simulate.csv").read_text().splitlines())
    assert float(row["dice"]) > 0.8
    assert float(row["nsd"]) > 0.8
    seconds = 2 * 10 + 4 * 3 + int(row["to_correct"]) * 30 + float(row["model_seconds"])
    assert float(row["assisted_minutes"]) == pytest.approx(seconds / 60)
    assert float(row["manual_minutes"]) == 4
    assert "not a measurement" in json.loads((out / "simulate.json").read_text())["settings"]["note"]
    mask = medsam.read_mask(out / "case_every3.nii.gz")
    assert medsam.dice(mask.labels, medsam.read_mask(pair).labels) == pytest.approx(float(row["dice"]))
    assert (out / "case_every3.png").stat().st_size > 1000


def test_bad_input_is_refused(pair, tmp_path, capsys):
    out = ["-o", str(tmp_path / "sim")]
    assert run(["simulate", str(pair), *out]) == 1
    assert "SCAN EXPERT_MASK pairs" in capsys.readouterr().err
    assert run(["simulate", str(pair), str(pair), "--labels", "9", *out]) == 1
    assert "empty" in capsys.readouterr().err
    assert run(["simulate", str(pair), str(pair), "--seconds", "1,2", *out]) == 1
    assert "draw,mark,check,correct" in capsys.readouterr().err
    assert not (tmp_path / "sim").exists()


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "0,1,1,1", "60,-1,3,1", "inf,1,1,1"])
def test_times_that_are_none_are_refused(text):
    with pytest.raises(PromptError):
        parse_times(text)
