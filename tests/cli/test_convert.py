"""`medsam convert`, as users type it: between all mask formats, and images to files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_phantom import Phantom, turned, write_series

from medsam import read_image, read_mask, write_mask
from medsam.cli.app import run
from medsam.imaging.image import Grid, Image, Mask
from medsam.io.formats import write_image

EXACT = ["m.nii.gz", "m.nii", "m.nrrd", "m.seg.nrrd", "m.mha", "m.npz", "m.geojson", "m.stl", "m.dcm", "rt.dcm"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, Mask]:
    folder = tmp_path_factory.mktemp("study") / "ct"
    write_series(folder, Phantom(turn=turned(10, -20, 30), row_mm=0.6, column_mm=0.6))
    grid = read_image(folder).grid
    rng = np.random.default_rng(0)
    labels = rng.choice([1, 2, 9], grid.shape) * (rng.random(grid.shape) < 0.4)
    return folder, Mask(labels, grid, {1: "Tumor", 2: "liver"}, {1: (255, 0, 0), 2: (0, 255, 0)})


def test_through_every_format_and_back_gives_the_same_voxels(study, tmp_path, capsys):
    folder, mask = study
    write_mask(mask, tmp_path / "start.seg.nrrd")
    chain = ["start.seg.nrrd", *EXACT, "end.nrrd"]
    for source, target in pairwise(chain):
        call = ["convert", str(tmp_path / source), str(tmp_path / target), "--reference", str(folder)]
        assert run(call + (["--format", "rtstruct"] if target == "rt.dcm" else [])) == 0, capsys.readouterr().err
        assert np.array_equal(read_mask(tmp_path / target, reference=folder).labels, mask.labels), target
    assert read_mask(tmp_path / "end.nrrd").grid.max_distance_mm(mask.grid) < 0.01
    assert "labels 1 Tumor, 2 liver, 9" in capsys.readouterr().out


def test_a_flat_mask_through_the_flat_formats(tmp_path, capsys):
    labels = np.random.default_rng(0).choice([0, 1, 2], (1, 12, 15))
    write_mask(Mask(labels, Grid(labels.shape)), tmp_path / "start.png")
    write_image(Image(np.zeros((1, 12, 15), dtype=np.uint8), Grid(labels.shape)), tmp_path / "image.nrrd")
    for source, target in pairwise(["start.png", "m.json", "m.geojson", "m.npz", "m.tif", "m.seg.nrrd", "end.png"]):
        call = ["convert", str(tmp_path / source), str(tmp_path / target), "--reference", str(tmp_path / "image.nrrd")]
        assert run(call) == 0, capsys.readouterr().err
        assert np.array_equal(read_mask(tmp_path / target).labels, labels), target


def test_some_structures_only(study, tmp_path, capsys):
    folder, mask = study
    write_mask(mask, tmp_path / "m.dcm", reference=folder)
    assert run(["convert", str(tmp_path / "m.dcm"), str(tmp_path / "o.nii.gz"), "--only", "tumor", "--only", "9"]) == 0
    assert set(np.unique(read_mask(tmp_path / "o.nii.gz").labels)) == {0, 1, 9}
    assert run(["convert", str(tmp_path / "m.dcm"), str(tmp_path / "o.nii.gz"), "--overwrite", "--only", "spleen"]) == 1
    assert "1 (Tumor), 2 (liver), 9" in capsys.readouterr().err
    write_mask(mask, tmp_path / "m.nii.gz")  # a format that keeps nothing apart
    assert run(["convert", str(tmp_path / "m.nii.gz"), str(tmp_path / "o.mha"), "--only", "2"]) == 0
    assert set(np.unique(read_mask(tmp_path / "o.mha").labels)) == {0, 2}


@pytest.mark.parametrize("target", ["ct.nii.gz", "ct.nii", "ct.nrrd", "ct.mha"])
def test_a_series_becomes_a_file_with_the_same_values_at_the_same_place(study, tmp_path, target, capsys):
    folder, _ = study
    assert run(["convert", str(folder), str(tmp_path / target)]) == 0
    image, back = read_image(folder), read_image(tmp_path / target)
    assert np.array_equal(image.values, back.values)
    assert back.grid.max_distance_mm(image.grid) < 0.01
    assert "image, 6 x 7 x 9 voxels" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["l.nrrd", "l.seg.nrrd", "l.mha", "l.nii.gz"])
def test_a_label_map_in_int64_is_copied(tmp_path, capsys, target):
    values = np.zeros((4, 4, 3), dtype=np.int64)
    values[:2], values[2, 0] = 1, 2
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype=np.int64), tmp_path / "labels.nii.gz")
    assert run(["convert", str(tmp_path / "labels.nii.gz"), str(tmp_path / target)]) == 0, capsys.readouterr().err
    assert np.array_equal(read_mask(tmp_path / target).labels, values.T)


@pytest.mark.parametrize("source", ["mask.png", "mask.bmp", "mask.tif"])
def test_a_mask_picture_of_0_and_255_becomes_label_1(tmp_path, capsys, source):
    from PIL import Image as Picture

    pixels = np.zeros((6, 8), np.uint8)
    pixels[2:4, 3:7] = 255
    Picture.fromarray(pixels).save(tmp_path / source)
    command = ["convert", str(tmp_path / source), str(tmp_path / "m.nii.gz"), "--overwrite"]
    assert run(command) == 0
    told = capsys.readouterr()
    assert "m.nii.gz: mask, 1 x 6 x 8 voxels, labels 1" in told.out
    assert "--kind image" in told.err
    assert np.array_equal(read_mask(tmp_path / "m.nii.gz").labels[0], pixels > 0)
    assert run([*command, "--kind", "image"]) == 0
    assert read_image(tmp_path / "m.nii.gz").values.max() == 255
    header = nibabel.load(tmp_path / "m.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    Picture.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).save(tmp_path / source)
    assert run(command) == 0
    assert "m.nii.gz: image" in capsys.readouterr().out


def test_one_volume_of_several_is_converted(tmp_path, capsys):
    values = np.arange(16, dtype=np.int16).reshape(2, 2, 2, 2)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "4d.nii")
    command = ["convert", str(tmp_path / "4d.nii"), str(tmp_path / "one.nrrd"), "--overwrite"]
    assert run(command) == 1
    assert "--volume" in capsys.readouterr().err
    assert run([*command, "--volume", "1"]) == 0
    assert np.array_equal(read_image(tmp_path / "one.nrrd").values, values[..., 1].T)
    assert run([*command, "--volume", "1", "--kind", "mask"]) == 0
    assert np.array_equal(read_mask(tmp_path / "one.nrrd").labels, values[..., 1].T)
    assert run([*command, "--volume", "2", "--kind", "mask"]) == 1
    assert "holds no volume 2" in capsys.readouterr().err


def test_mistakes_end_in_one_line_and_code_1(study, tmp_path, capsys):
    folder, mask = study
    write_mask(mask, tmp_path / "m.nii.gz")
    write_mask(mask, tmp_path / "m.stl")
    cases = [
        ([tmp_path / "none.nii.gz", tmp_path / "o.nrrd"], "does not exist"),
        ([tmp_path / "m.nii.gz", tmp_path / "o.dcm"], "pass --reference"),
        ([tmp_path / "m.nii.gz", tmp_path / "o.xyz"], "suffix"),
        ([tmp_path / "m.stl", tmp_path / "o.nii.gz"], "pass reference= (--reference)"),
        ([folder, tmp_path / "o.seg.nrrd"], "an image"),
        ([tmp_path / "m.nii.gz", tmp_path / "o.dcm", "--reference", folder, "--format", "dicom-seg:XX"], "BINARY"),
    ]
    for arguments, words in cases:
        assert run(["convert", *map(str, arguments)]) == 1
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert run(["convert", str(tmp_path / "m.nii.gz")]) == 2
