"""`medsam measure` as a user runs it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.cli.app import run
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import write_mask


@pytest.fixture
def mask(tmp_path):
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1, 2:6, 3:6] = 1  # 3 by 4 pixels of 1 mm: a diagonal of 5
    labels[2, 12:14, 12:14] = 1
    path = tmp_path / "m.nii.gz"
    write_mask(Mask(labels, Grid(labels.shape, spacing_mm=(2.5, 1, 1))), path)
    return path


def test_table_csv_and_json_say_the_same(mask, tmp_path, capsys):
    assert run(["measure", str(mask)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["label", "voxels", "volume_mm3", "volume_ml", "long_axis_mm", "short_axis_mm", "slice"]
    assert row.split() == ["1", "16", "40.0", "0.040", "5.0", "3.8", "1"]
    assert run(["measure", str(mask), "-o", str(tmp_path / "m.csv")]) == 0
    [line] = csv.DictReader((tmp_path / "m.csv").read_text().splitlines())
    assert (line["long_axis_mm"], line["volume_ml"], line["slice"]) == ("5.0", "0.040", "1")
    assert run(["measure", str(mask), "--format", "json", "--components"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["component"], r["voxels"], r["slice"]) for r in rows] == [(1, 12, 1), (2, 4, 2)]


def test_picture_needs_a_spacing(tmp_path, capsys):
    path = tmp_path / "m.png"
    Picture.fromarray(np.pad(np.full((3, 4), 255, np.uint8), 4)).save(path)
    assert run(["measure", str(path)]) == 1
    assert "--spacing" in capsys.readouterr().err
    assert run(["measure", str(path), "--spacing", "1,1,1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["long_axis_mm"] == 5
    assert run(["measure", str(path), "--spacing", "1,1"]) == 1
