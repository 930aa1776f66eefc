"""medsam info: what it says of files with and without geometry, modality and window."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Picture

import medsam
from medsam.cli.app import run


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    values = np.linspace(-1000, 1000, 4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)
    affine = np.diag([-0.5, -0.75, 5.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def facts_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run(["info", *arguments, "--json"]) == 0
    facts: dict[str, object] = json.loads(capsys.readouterr().out)
    return facts


def test_a_ct_is_described_with_what_would_be_done(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(capsys, str(scan), "--modality", "CT", "--window", "soft-tissue")
    assert facts["shape"] == [6, 5, 4]
    assert facts["spacing_mm"] == [5.0, 0.75, 0.5]
    assert facts["orientation"] == "SPL"
    assert facts["plane"] == "axial"
    assert facts["origin_mm"] == [-10, -20, 30]
    assert facts["range"] == [-1000, 1000]
    assert (facts["rule"], facts["shown_range"]) == ("window", [-160, 240])
    assert facts["model"] == "lite-medsam"
    assert facts["frame"] == {"size": 256, "fit": "pad", "slice_becomes": [256, 205]}


def test_a_ct_without_a_window_says_what_is_missing(scan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(scan), "--modality", "CT"]) == 0
    text = capsys.readouterr().out
    assert "6 x 5 x 4 (slices x rows x columns)" in text
    assert "5 x 0.75 x 0.5 mm" in text
    assert "slices to superior, rows to posterior, columns to left (axial)" in text
    assert "a CT without a window; pass --window" in text


def test_a_picture_has_no_spacing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Picture.fromarray(np.full((8, 16, 3), 7, np.uint8)).save(tmp_path / "a.png")
    assert run(["info", str(tmp_path / "a.png"), "--model", "medsam-vit-b"]) == 0
    text = capsys.readouterr().out
    assert "RGB" in text
    assert "spacing      unknown" in text
    assert "rule color: 0 to 255 becomes 0 to 255" in text
    assert "1024 x 1024 in a 1024 x 1024 frame, stretched" in text


def test_nan_pixels_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.ones((2, 3, 4), np.float32)
    values[1, 1, 1] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    facts = facts_of(capsys, str(tmp_path / "a.nii"), "--modality", "MR")
    assert facts["not_finite"] == 1
    assert facts["rule"] is None
    assert "NaN" in str(facts["problem"])


def test_a_mask_file_lists_its_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, :2, :2] = 3
    medsam.write_mask(medsam.Mask(labels, medsam.Grid((1, 4, 4)), names={3: "spleen"}), tmp_path / "m.json")
    assert facts_of(capsys, str(tmp_path / "m.json"))["labels"] == [{"label": 3, "name": "spleen", "voxels": 4}]
    assert run(["info", str(tmp_path / "m.json")]) == 0
    assert "3 spleen (4 voxels)" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["missing.nii.gz", "empty.nii.gz", "text.nii.gz", "odd.xyz"])
def test_bad_files_end_with_one_line_and_exit_code_1(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name != "missing.nii.gz":
        (tmp_path / name).write_text("" if name == "empty.nii.gz" else "hello")
    assert run(["info", str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert name in captured.err


def test_patient_data_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    path = str(get_testdata_file("CT_small.dcm"))
    header = dcmread(path, stop_before_pixels=True)
    assert run(["info", path]) == 0
    text = capsys.readouterr().out
    for secret in (header.PatientName, header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID):
        assert str(secret) not in text


def test_the_verb_loads_neither_numpy_nor_torch() -> None:
    code = "import sys, medsam.cli.info; sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_segmentation_and_contours_in_dicom_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "io"))
    from dicom_phantom import Phantom, write_series

    write_series(tmp_path / "ct", Phantom())
    grid = medsam.read_image(tmp_path / "ct").grid
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2, 1:5, 2:6] = 1
    mask = medsam.Mask(labels, grid, {1: "liver"})
    for name, kind in (("seg.dcm", "dicom-seg"), ("rt.dcm", "rtstruct")):
        medsam.write_mask(mask, tmp_path / name, reference=tmp_path / "ct", format=kind)
        facts = facts_of(capsys, str(tmp_path / name), "--reference", str(tmp_path / "ct"))
        assert facts["shape"] == [6, 7, 9]
        assert facts["labels"] == [{"label": 1, "name": "liver", "voxels": 16}]
