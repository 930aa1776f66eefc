"""`medsam convert`, as users type it: between all mask formats, and images to files."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
from dicom_phantom import Phantom, turned, write_series

from medsam import read_image, read_mask, write_mask
from medsam.cli.app import run
from medsam.errors import OutputError
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
    assert run(["convert", str(tmp_path / "m.dcm"), str(tmp_path / "o.nii.gz"), "--only", "spleen"]) == 1
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


def test_another_reader_agrees_on_the_place(study, tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    folder, _ = study
    image = read_image(folder)
    for target in ("ct.nii.gz", "ct.nrrd", "ct.mha"):
        write_image(image, tmp_path / target)
        theirs = sitk.ReadImage(str(tmp_path / target))
        assert np.array_equal(sitk.GetArrayFromImage(theirs), image.values)
        for index in ((0, 0, 0), (5, 6, 8), (2, 1, 7)):
            there = theirs.TransformIndexToPhysicalPoint(index[::-1])
            assert np.allclose(there, image.grid.to_world(np.array(index))[0], atol=0.005), target


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_colours_floats_and_unknown_spacing(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for values in (
        rng.integers(0, 255, (2, 3, 4, 3), dtype=np.uint8),
        rng.normal(size=(2, 3, 4)),
        np.ones((2, 3, 4), dtype=bool),
    ):
        image = Image(values, Grid((2, 3, 4), (3, 2, 1)))
        write_image(image, tmp_path / f"i{suffix}")
        back = read_image(tmp_path / f"i{suffix}")
        assert np.array_equal(back.values, values)
        assert back.grid.spacing_mm == pytest.approx((3, 2, 1))
    write_image(Image(np.ones((2, 3, 4), dtype=np.int16), Grid((2, 3, 4))), tmp_path / f"u{suffix}")
    assert read_image(tmp_path / f"u{suffix}").grid.shape == (2, 3, 4)


def test_what_cannot_be_written_is_refused_in_words(tmp_path):
    grid = Grid((2, 2, 2), (1, 1, 1))
    with pytest.raises(OutputError, match="int64"):
        write_image(Image(np.ones((2, 2, 2), dtype=np.int64), grid), tmp_path / "i.nii")
    with pytest.raises(OutputError, match="suffix"):
        write_image(Image(np.ones((2, 2, 2), dtype=np.int16), grid), tmp_path / "i.gif")
    affine = np.eye(4)
    affine[0, 1] = 0.5
    with pytest.raises(OutputError, match="sheared"):
        write_image(Image(np.ones((2, 2, 2), dtype=np.int16), Grid((2, 2, 2), affine=affine)), tmp_path / "i.mha")
    assert list(tmp_path.iterdir()) == []


def test_one_volume_of_several_is_converted(tmp_path, capsys):
    values = np.arange(16, dtype=np.int16).reshape(2, 2, 2, 2)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "4d.nii")
    command = ["convert", str(tmp_path / "4d.nii"), str(tmp_path / "one.nrrd")]
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
