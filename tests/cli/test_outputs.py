"""What is read is never written over: images, markers and series are somebody's only copy."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

sys.path.append(str(Path(__file__).parents[1] / "io"))
from dicom_phantom import Phantom, write_series

from medsam import Grid, Mask, read_image, write_mask
from medsam.cli.app import run
from medsam.io.formats import write_image

BOX = ["--box", "2,2,12,12"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "eye.png"
    Picture.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(path)
    return path


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "ct", Phantom(rows=16, columns=16))
    return tmp_path / "ct"


def refused(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> bool:
    code = run(arguments)
    return code == 1 and word in capsys.readouterr().err


def test_mask_picture_and_record_never_replace_the_image(picture, tmp_path, capsys):
    before = picture.read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(picture)
    for extra in (["-o", str(picture)], ["-o", str(link)], ["-o", str(tmp_path / "sub" / ".." / "eye.png")]):
        assert refused(["segment", str(picture), *BOX, *extra], "also read", capsys)
    mask = str(tmp_path / "m.png")
    for flag in ("--overlay", "--record"):
        assert refused(["segment", str(picture), *BOX, "-o", mask, flag, str(picture)], "also read", capsys)
    assert refused(["segment", str(picture), *BOX, "-o", mask, "--overlay", mask], "twice", capsys)
    assert picture.read_bytes() == before
    assert not Path(mask).exists()


def test_masks_do_not_land_among_the_images_of_a_folder(picture, capsys):
    folder = str(picture.parent)
    assert refused(["segment", folder, *BOX, "-o", folder], "among the images", capsys)
    assert sorted(p.name for p in picture.parent.iterdir()) == ["eye.png"]


def test_a_slice_of_the_series_is_not_replaced(series, tmp_path, capsys):
    first = min(series.iterdir())
    before = first.read_bytes()
    grid = read_image(series).grid
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2, 3:8, 3:8] = 1
    write_mask(Mask(labels, grid), tmp_path / "m.nii.gz")
    call = ["convert", str(tmp_path / "m.nii.gz"), "--reference", str(series)]
    assert refused([*call, str(first)], "also read", capsys)
    assert first.read_bytes() == before
    for _ in range(2):  # the mask beside the slices may be written again
        assert run([*call, str(series / "seg.dcm")]) == 0


def test_a_folder_of_dicom_with_other_images_is_ambiguous(series, picture, tmp_path, capsys):
    shutil.copy(picture, series / "preview.png")
    call = ["segment", str(series), *BOX, "--slice", "2", "--window", "lung", "-o", str(tmp_path / "m.nii.gz")]
    assert refused(call, "preview.png", capsys)


def test_markers_masks_and_scans_are_kept(tmp_path, capsys):
    grid = Grid((3, 16, 16), spacing_mm=(3, 1, 1))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[1, 3:8, 3:8] = 1
    mask, scan = tmp_path / "m.nii.gz", tmp_path / "ct.nii.gz"
    write_mask(Mask(labels, grid), mask)
    image = read_image(mask)
    write_image(image, scan)
    before = mask.read_bytes(), scan.read_bytes()
    call = ["annotate", str(scan), "--markers", str(mask), "--modality", "MR", "-o"]
    for target in (mask, scan):
        assert refused([*call, str(target)], "also read", capsys)
    assert refused([*call, str(tmp_path / "m.xyz")], ".xyz", capsys)
    assert refused(["convert", str(mask), str(mask)], "also read", capsys)
    assert refused(["measure", str(mask), "-o", str(mask)], "also read", capsys)
    assert (mask.read_bytes(), scan.read_bytes()) == before


def test_an_output_without_a_suffix_is_a_folder_even_for_one_image(picture, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["segment", str(picture), *BOX, "-o", f"{out}/", "--format", "nrrd", "--overlay", f"{out}/"]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["eye.nrrd", "eye.png"]
    call = ["segment", str(picture), *BOX, "-o", str(tmp_path / "m.png"), "--format"]
    assert refused([*call, "nrrd"], "ends in .nrrd", capsys)
    assert refused([*call, "gif"], "gif", capsys)
    assert refused(["segment", str(picture), *BOX, "-o", f"{out}/", "--format", "rtstruct"], "DICOM", capsys)


def test_a_volume_for_a_picture_is_refused_before_the_model_is_loaded(series, tmp_path, capsys):
    (tmp_path / "two.csv").write_text("slice,x0,y0,x1,y1\n2,2,2,12,12\n3,2,2,12,12\n")
    call = ["segment", str(series), "--prompts", str(tmp_path / "two.csv"), "--window", "lung", "--model", "none"]
    assert refused([*call, "-o", str(tmp_path / "m.png")], "6 slices", capsys)


def test_a_stopped_run_leaves_its_record_and_the_next_one_adds_to_it(picture, tmp_path):
    folder, out, record = tmp_path / "in", tmp_path / "out", tmp_path / "run.json"
    folder.mkdir()
    for number in range(12):
        shutil.copy(picture, folder / f"{number:02}.png")
    main = [sys.executable, "-c", "from medsam.cli.app import main; main()"]
    call = ["segment", str(folder), *BOX, "-o", str(out), "--record", str(record)]
    process = subprocess.Popen([*main, *call], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out / "02.png").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "interrupted" in said
    done = len(list(out.iterdir()))
    first = json.loads(record.read_text())
    assert len(first["runs"]) in (done, done - 1)  # the last mask may have been written when the signal came
    assert run(call) == 0
    rows = json.loads(record.read_text())["runs"]
    assert len(rows) in (12, 11)
    assert rows[0] == {key: first[key] for key in ("written", "weights", "window", "volume")} | first["runs"][0]


def test_of_two_series_on_one_grid_the_one_named_is_referenced(series, tmp_path):
    import pydicom

    second = "1.2.826.0.1.3680043.8.498.2"
    write_series(series / "late", Phantom(rows=16, columns=16, series=second))
    grid = read_image(series, series=second).grid
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2, 3:8, 3:8] = 1
    write_mask(Mask(labels, grid), tmp_path / "m.nii.gz")
    call = ["convert", str(tmp_path / "m.nii.gz"), "--reference", str(series)]
    assert run([*call, str(tmp_path / "none.dcm")]) == 1
    for name in ("dicom-seg", "rtstruct"):
        out = tmp_path / f"{name}.dcm"
        assert run([*call, str(out), "--series", second, "--format", name]) == 0
        written = str(pydicom.dcmread(out))
        assert second in written
        assert f"{Phantom().series}]" not in written
