"""`medsam annotate` as a user runs it, on real weights."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from command import medsam, refused
from medsam import dice, read_image, read_mask
from medsam.models.weights.catalog import fetch


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


def test_lines_on_two_slices_make_a_mask_on_three(ct, tmp_path):
    out, picture, record = tmp_path / "tumor.nii.gz", tmp_path / "look.png", tmp_path / "run.json"
    call = f"annotate {ct}/scan.nii.gz --markers {ct}/markers.csv -o {out} --modality CT --window soft-tissue"
    ended = medsam(f"{call} --overlay {picture} --record {record}")
    assert ended.code == 0
    assert "on slices 1 to 3, 2 of 3 marked; lowest expected IoU 0." in ended.out
    mask = read_mask(out)
    truth = read_image(ct / "scan.nii.gz").values > 70
    assert mask.labels.any(axis=(1, 2)).tolist() == [False, True, True, True, False]
    assert dice(mask.labels[1:4], truth[1:4]) > 0.9
    assert mask.grid.same_as(read_image(ct / "scan.nii.gz").grid)
    kept = json.loads(record.read_text())
    [row] = kept["runs"]
    margin = 96 * 5 / 256  # of a slice of 96 pixels
    half = (17**2 + 0.5 * 1 * 1 * 5**2) ** 0.5 + margin  # sides of 34 mm, slices of 5 mm, half of a ball's gain
    between = {"label": 1, "slice": 2, "box": pytest.approx([50 - half, 40 - half, 50 + half, 40 + half])}
    assert row["prompts"][1] == between
    assert len(row["scores"]) == len(row["prompts"]) == 3
    assert row["markers"] == [f"{ct}/markers.csv"]
    assert row["voxels"] == {"1": int(mask.labels.sum())}
    assert (kept["model"]["name"], kept["margin_px"], kept["window"]) == ("lite-medsam", margin, "soft-tissue")
    assert {"boxes", "encode", "decode", "total"} <= set(row["seconds"])
    assert Picture.open(picture).size[0] > 100
    assert refused(medsam(call), "exists already", "--overwrite")
    assert medsam(f"{call} --overwrite --json").json["masks"][0]["voxels"] == row["voxels"]


def test_markers_of_several_files_are_joined_wherever_the_scan_stands(ct, tmp_path):
    header, *rows = (ct / "markers.csv").read_text().splitlines()
    for name, own in (("a.csv", rows[:2]), ("b.csv", rows[2:])):
        (tmp_path / name).write_text("\n".join([header, *own]) + "\n")
    flags = f"--markers {tmp_path}/a.csv --markers {tmp_path}/b.csv"
    ended = medsam(f"annotate {flags} {ct}/scan.nii.gz -o {tmp_path}/m.nii.gz --modality CT --window soft-tissue")
    assert ended.code == 0, ended.err
    assert "on slices 1 to 3, 2 of 3 marked" in ended.out


def test_one_volume_of_several_is_annotated(ct, tmp_path):
    scan = nibabel.load(ct / "scan.nii.gz")
    hu = np.asarray(scan.dataobj)
    nibabel.save(nibabel.Nifti1Image(np.stack([np.full_like(hu, 20), hu], axis=-1), scan.affine), tmp_path / "4d.nii")
    flags = f"--markers {ct}/markers.csv -o {tmp_path}/m.nii.gz --modality CT --window soft-tissue"
    assert refused(medsam(f"annotate {tmp_path}/4d.nii {flags}"), "--volume")
    assert medsam(f"annotate {tmp_path}/4d.nii {flags} --volume 1").code == 0
    assert dice(read_mask(tmp_path / "m.nii.gz").labels[1:4], hu.T[1:4] > 70) > 0.9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--markers none.csv", "does not exist"),
        ("--modality CT", "--window"),
        ("--interpolation legacy --markers alone.csv", "marked on slice 3 alone"),
        ("--markers outside.csv", "object 1 on slice 9"),
    ],
)
def test_bad_input_ends_in_one_line_and_no_file(ct, tmp_path, monkeypatch, change, said):
    monkeypatch.chdir(tmp_path)
    Path("alone.csv").write_text("label,slice,x0,y0,x1,y1\n1,3,5,5,20,20\n")
    Path("outside.csv").write_text("label,slice,x0,y0,x1,y1\n1,9,5,5,20,20\n")
    markers = "" if "--markers" in change else f"--markers {ct}/markers.csv"
    window = "" if "CT" in change else "--modality CT --window lung"
    assert refused(medsam(f"annotate {ct}/scan.nii.gz {markers} -o out.nii.gz {window} {change}"), said)
    assert not Path("out.nii.gz").exists()


def test_markers_without_an_output_and_an_output_without_markers_are_refused(ct, tmp_path):
    assert refused(medsam(f"annotate {ct}/scan.nii.gz -o {tmp_path}/a.nii.gz"), "without --markers", "in the browser")
    assert refused(medsam(f"annotate {ct}/scan.nii.gz --markers {ct}/markers.csv"), "without --output")
