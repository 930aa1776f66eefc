"""`medsam measure` as a user runs it."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

sys.path.append(str(Path(__file__).parent.parent / "io"))
from dicom_phantom import Phantom, write_series

from medsam.cli.app import run
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import read_image, write_mask


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
    assert header.split() == [
        "label",
        "voxels",
        "volume_mm3",
        "volume_ml",
        "long_axis_mm",
        "short_axis_mm",
        "slice",
        "position_mm",
    ]
    assert row.split() == ["1", "16", "40.0", "0.040", "5.0", "3.8", "1", "2.5"]
    assert run(["measure", str(mask), "-o", str(tmp_path / "m.csv")]) == 0
    [line] = csv.DictReader((tmp_path / "m.csv").read_text().splitlines())
    assert (line["long_axis_mm"], line["volume_ml"], line["slice"]) == ("5.0", "0.040", "1")
    assert run(["measure", str(mask), "--format", "json", "--components"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["component"], r["voxels"], r["slice"]) for r in rows] == [(1, 12, 1), (2, 4, 2)]


def test_a_segmentation_says_whose_slices_it_counts_and_where_they_lie(tmp_path, capsys):
    series, segmentation = tmp_path / "series", tmp_path / "seg.dcm"
    write_series(series, Phantom())  # six axial slices, 3 mm apart from z 100
    grid = read_image(series).grid
    labels = np.zeros(grid.shape, np.uint8)
    labels[4, 2:4, 2:4] = labels[5, 2:6, 2:7] = 1
    write_mask(Mask(labels, grid), segmentation, reference=series)
    found = []
    for flags in ([], ["--reference", str(series)]):
        assert run(["measure", str(segmentation), "--format", "json", *flags]) == 0
        out, err = capsys.readouterr()
        [row] = json.loads(out)
        found.append((row["slice"], row["position_mm"], err.count("\n")))
        assert flags or "of the SEG itself; --reference" in err
    assert found == [(1, 115.0, 1), (5, 115.0, 0)]


def test_picture_needs_a_spacing(tmp_path, capsys):
    path = tmp_path / "m.png"
    Picture.fromarray(np.pad(np.full((3, 4), 255, np.uint8), 4)).save(path)
    assert run(["measure", str(path)]) == 1
    assert "--spacing" in capsys.readouterr().err
    assert run(["measure", str(path), "--spacing", "1,1,1", "--format", "json"]) == 0
    assert [(r["long_axis_mm"], r["position_mm"]) for r in json.loads(capsys.readouterr().out)] == [(5, None)]
    assert run(["measure", str(path), "--spacing", "1,1"]) == 1


def test_one_volume_of_several_is_measured(mask, tmp_path, capsys):
    import nibabel

    one = nibabel.load(mask)
    four = np.stack([np.zeros_like(np.asarray(one.dataobj)), np.asarray(one.dataobj)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(four, one.affine), tmp_path / "four.nii.gz")
    assert run(["measure", str(mask), "--format", "csv"]) == 0
    alone = capsys.readouterr().out
    assert run(["measure", str(tmp_path / "four.nii.gz")]) == 1
    assert "--volume" in capsys.readouterr().err
    assert run(["measure", str(tmp_path / "four.nii.gz"), "--volume", "1", "--format", "csv"]) == 0
    assert capsys.readouterr().out == alone
