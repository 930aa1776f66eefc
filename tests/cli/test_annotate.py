"""`medsam annotate` as a user runs it, on real weights."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

import medsam
from medsam.cli.app import run
from medsam.models.catalog import fetch


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    """Five CT slices in HU with a ball of 120 HU in 20 HU around voxel x 50, y 40, slice 2."""
    zz, yy, xx = np.mgrid[:5, :96, :96]
    hu = np.where(((zz - 2) * 5) ** 2 + (yy - 40) ** 2 + (xx - 50) ** 2 <= 18**2, 120, 20).astype(np.int16)
    affine = np.diag([-0.8, -0.8, 4.0, 1.0])
    folder = tmp_path_factory.mktemp("ct")
    nibabel.save(nibabel.Nifti1Image(hu.T, affine), folder / "scan.nii.gz")
    rows = ["label,slice,x0,y0,x1,y1"]
    for k, r in ((1, 17), (3, 17)):
        rows += [f"1,{k},{50 - r},40,{50 + r},40", f"1,{k},50,{40 - r},50,{40 + r}"]
    (folder / "markers.csv").write_text("\n".join(rows) + "\n")
    fetch("lite-medsam")
    return folder


def test_lines_on_two_slices_make_a_mask_on_three(ct, tmp_path, capsys):
    out, picture, record = tmp_path / "tumor.nii.gz", tmp_path / "look.png", tmp_path / "run.json"
    command = [
        "annotate",
        str(ct / "scan.nii.gz"),
        "--markers",
        str(ct / "markers.csv"),
        "-o",
        str(out),
        "--modality",
        "CT",
    ]
    assert run([*command, "--window", "soft-tissue", "--overlay", str(picture), "--record", str(record)]) == 0
    said = capsys.readouterr().out
    assert "on slices 1 to 3, 2 of 3 marked" in said
    mask = medsam.read_mask(out)
    truth = medsam.read_image(ct / "scan.nii.gz").values > 70
    assert mask.labels.any(axis=(1, 2)).tolist() == [False, True, True, True, False]
    assert medsam.dice(mask.labels[1:4], truth[1:4]) > 0.9
    assert mask.grid.same_as(medsam.read_image(ct / "scan.nii.gz").grid)
    kept = json.loads(record.read_text())
    assert kept["boxes"]["1"]["2"] == [33 - 5, 23 - 5, 67 + 5, 57 + 5]
    assert kept["model"]["name"] == "lite-medsam"
    assert {"boxes", "encode", "decode", "total"} <= set(kept["seconds"])
    assert Picture.open(picture).size[0] > 100


def test_one_volume_of_several_is_annotated(ct, tmp_path, capsys):
    scan = nibabel.load(ct / "scan.nii.gz")
    hu = np.asarray(scan.dataobj)
    nibabel.save(nibabel.Nifti1Image(np.stack([np.full_like(hu, 20), hu], axis=-1), scan.affine), tmp_path / "4d.nii")
    flags = ["--markers", str(ct / "markers.csv"), "-o", str(tmp_path / "m.nii.gz"), "--modality", "CT"]
    command = ["annotate", str(tmp_path / "4d.nii"), *flags, "--window", "soft-tissue"]
    assert run(command) == 1
    assert "--volume" in capsys.readouterr().err
    assert run([*command, "--volume", "1"]) == 0
    assert medsam.dice(medsam.read_mask(tmp_path / "m.nii.gz").labels[1:4], hu.T[1:4] > 70) > 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--markers", "none.csv"], "does not exist"),
        (["--modality", "CT"], "--window"),
        (["--interpolation", "legacy", "--markers", "alone.csv"], "marked on slice 3 alone"),
        (["--markers", "outside.csv"], "object 1 on slice 9"),
    ],
)
def test_bad_input_ends_in_one_line_and_no_file(ct, tmp_path, capsys, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    Path("alone.csv").write_text("label,slice,x0,y0,x1,y1\n1,3,5,5,20,20\n")
    Path("outside.csv").write_text("label,slice,x0,y0,x1,y1\n1,9,5,5,20,20\n")
    markers = [] if "--markers" in change else ["--markers", str(ct / "markers.csv")]
    window = [] if "CT" in change else ["--modality", "CT", "--window", "lung"]
    assert run(["annotate", str(ct / "scan.nii.gz"), *markers, "-o", "out.nii.gz", *window, *change]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("out.nii.gz").exists()
