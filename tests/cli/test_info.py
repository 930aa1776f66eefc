"""medsam info: what it says of files with and without geometry, modality and window."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import Phantom, write_series
from PIL import Image as Picture

from command import medsam, refused
from medsam import Grid, Mask, read_image, write_mask


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    values = np.linspace(-1000, 1000, 4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)
    affine = np.diag([-0.5, -0.75, 5.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def facts_of(*words: object) -> dict[str, object]:
    return medsam("info --json", *words).json


def test_a_ct_is_described_with_what_would_be_done(scan: Path) -> None:
    facts = facts_of(str(scan), "--modality", "CT", "--window", "soft-tissue")
    assert facts["shape"] == [6, 5, 4]
    assert facts["spacing_mm"] == [5.0, 0.75, 0.5]
    assert facts["orientation"] == "SPL"
    assert facts["plane"] == "axial"
    assert facts["origin_mm"] == [-10, -20, 30]
    assert facts["range"] == [-1000, 1000]
    assert (facts["rule"], facts["shown_range"]) == ("window", [-160, 240])
    assert facts["model"] == "lite-medsam"
    assert facts["frame"] == {"size": 256, "fit": "pad", "slice_becomes": [256, 205]}


def test_a_ct_without_a_window_says_what_is_missing(scan: Path) -> None:
    text = medsam("info", str(scan), "--modality", "CT").out
    assert "6 x 5 x 4 (slices x rows x columns)" in text
    assert "5 x 0.75 x 0.5 mm" in text
    assert "slices to superior, rows to posterior, columns to left (axial)" in text
    assert "a CT without a window; pass --window" in text


def test_a_picture_has_no_spacing(tmp_path: Path) -> None:
    Picture.fromarray(np.full((8, 16, 3), 7, np.uint8)).save(tmp_path / "a.png")
    text = medsam("info", str(tmp_path / "a.png"), "--model", "medsam-vit-b").out
    assert "RGB" in text
    assert "spacing      unknown" in text
    assert "rule color: 0 to 255 becomes 0 to 255" in text
    assert "1024 x 1024 in a 1024 x 1024 frame, stretched" in text


def test_nan_pixels_are_counted(tmp_path: Path) -> None:
    values = np.ones((2, 3, 4), np.float32)
    values[1, 1, 1] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    facts = facts_of(str(tmp_path / "a.nii"), "--modality", "MR")
    assert facts["not_finite"] == 1
    assert facts["rule"] is None
    assert "NaN" in str(facts["problem"])


def test_a_mask_file_lists_its_labels(tmp_path: Path) -> None:
    labels = np.zeros((1, 4, 4), np.uint8)
    labels[0, :2, :2] = 3
    write_mask(Mask(labels, Grid((1, 4, 4)), names={3: "spleen"}), tmp_path / "m.json")
    assert facts_of(str(tmp_path / "m.json"))["labels"] == [{"label": 3, "name": "spleen", "voxels": 4}]
    assert "3 spleen (4 voxels)" in medsam("info", tmp_path / "m.json").out


@pytest.mark.parametrize("name", ["missing.nii.gz", "empty.nii.gz", "text.nii.gz", "odd.xyz"])
def test_bad_files_end_with_one_line_and_exit_code_1(tmp_path: Path, name: str) -> None:
    if name != "missing.nii.gz":
        (tmp_path / name).write_text("" if name == "empty.nii.gz" else "hello")
    assert refused(medsam("info", tmp_path / name), name)


def test_patient_data_is_not_shown() -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    path = str(get_testdata_file("CT_small.dcm"))
    header = dcmread(path, stop_before_pixels=True)
    text = medsam("info", path).out
    for secret in (header.PatientName, header.PatientID, header.StudyInstanceUID, header.SeriesInstanceUID):
        assert str(secret) not in text


def test_the_verb_loads_neither_numpy_nor_torch() -> None:
    code = "import sys, medsam.cli.info; sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_segmentation_and_contours_in_dicom_are_described(tmp_path: Path) -> None:
    from dicom_phantom import Phantom, write_series

    write_series(tmp_path / "ct", Phantom())
    grid = read_image(tmp_path / "ct").grid
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2, 1:5, 2:6] = 1
    mask = Mask(labels, grid, {1: "liver"})
    for name, kind in (("seg.dcm", "dicom-seg"), ("rt.dcm", "rtstruct")):
        write_mask(mask, tmp_path / name, reference=tmp_path / "ct", format=kind)
        facts = facts_of(str(tmp_path / name), "--reference", str(tmp_path / "ct"))
        assert facts["shape"] == [6, 7, 9]
        assert facts["labels"] == [{"label": 1, "name": "liver", "voxels": 16}]


def test_what_looks_like_ct_is_said_with_all_that_is_missing(tmp_path: Path) -> None:
    values = np.linspace(-1024, 1500, 4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii")
    facts = facts_of(tmp_path / "scan.nii")
    assert facts["looks_like"] == "CT in HU"
    assert facts["needed"] == ["--modality CT", "--window soft-tissue", "--slice K (0 to 5)", "--box x0,y0,x1,y1"]
    text = medsam("info", tmp_path / "scan.nii").out
    assert "looks like   CT in HU: add --modality CT --window soft-tissue" in text
    command = f"medsam segment {tmp_path}/scan.nii --modality CT --window soft-tissue --slice K --box x0,y0,x1,y1"
    assert command in text
    windowed = facts_of(tmp_path / "scan.nii", "--modality", "CT", "--window", "lung")
    assert windowed["needed"] == ["--slice K (0 to 5)", "--box x0,y0,x1,y1"]
    assert "--modality CT --window lung" in str(windowed["command"])


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 1500, np.int16), (-300, 1500, np.int16), (-1024, 50, np.int16), (-1024, 0.5, np.float32)],
)
def test_other_values_do_not_look_like_ct(tmp_path: Path, low: float, high: float, dtype: type) -> None:
    values = np.linspace(low, high, 120).reshape(4, 5, 6).astype(dtype)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii")
    facts = facts_of(tmp_path / "scan.nii")
    assert facts["looks_like"] is None
    assert facts["needed"][0] == "--modality MR (or what made it)"


def test_one_key_names_the_volume_of_the_reference_too(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / "ct" / str(number), Phantom(tags=(("AcquisitionNumber", number),)))
    grid = read_image(tmp_path / "ct", series="2").grid
    labels = np.zeros(grid.shape, np.uint8)
    labels[3, 2:4, 2:5] = 1
    write_mask(Mask(labels, grid), tmp_path / "seg.dcm", reference=tmp_path / "ct", series="2")
    for key in ("2", f"{Phantom().series}#2"):
        facts = facts_of(tmp_path / "seg.dcm", "--reference", tmp_path / "ct", "--series", key)
        assert facts["shape"] == [6, 7, 9]
        assert [label["voxels"] for label in facts["labels"]] == [6]
