"""`medsam simulate` as a user runs it, on real weights."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from command import medsam, refused
from medsam import dice, read_mask
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import write_mask
from medsam.models.weights.catalog import fetch


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


def test_reader_pipeline_and_scores(pair, tmp_path):
    out = tmp_path / "sim"
    ended = medsam(f"simulate {pair} {pair} --every 3 --jitter-mm 0.5 -o {out}")
    assert ended.code == 0
    assert "| case | 1 | 3 | 4 | 2 |" in ended.out
    [row] = csv.DictReader((out / "simulate.csv").read_text().splitlines())
    assert float(row["dice"]) > 0.8
    assert float(row["nsd"]) > 0.8
    seconds = 2 * 10 + 4 * 3 + int(row["to_correct"]) * 30 + float(row["model_seconds"])
    assert float(row["assisted_minutes"]) == pytest.approx(seconds / 60)
    assert float(row["manual_minutes"]) == 4
    record = json.loads((out / "simulate.json").read_text())
    assert "not a measurement" in record["note"]
    assert (record["model"]["name"], record["jitter_mm"], record["runs"][0]["scan"]) == ("lite-medsam", 0.5, "case")
    mask = read_mask(out / "case_every3.nii.gz")
    assert dice(mask.labels, read_mask(pair).labels) == pytest.approx(float(row["dice"]))
    assert (out / "case_every3.png").stat().st_size > 1000


def test_bad_input_is_refused(pair, tmp_path):
    out = f"-o {tmp_path}/sim"
    assert refused(medsam(f"simulate {pair} {out}"), "SCAN EXPERT_MASK pairs")
    assert refused(medsam(f"simulate {pair} {pair} --labels 9 {out}"), "empty")
    assert refused(medsam(f"simulate {pair} {pair} --seconds 1,2 {out}"), "draw,mark,check,correct")
    assert not (tmp_path / "sim").exists()
    assert refused(medsam(f"simulate {pair} {pair} -o {pair}"), "is a file")
    for name in ("simulate.md", "case_every5.png"):
        (tmp_path / "sim").mkdir(exist_ok=True)
        (tmp_path / "sim" / name).write_text("mine")
        assert refused(medsam(f"simulate {pair} {pair} {out}"), f"{name} exists already")
        (tmp_path / "sim" / name).unlink()
    assert refused(medsam(f"simulate {pair} {pair} {pair} {pair} {out}"), "written twice")
