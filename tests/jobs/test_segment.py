"""Many images in one run, and what is refused before a model is loaded."""

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
from dicom_phantom import Phantom, write_series

from command import medsam, refused
from medsam import Grid, Mask, read_image
from medsam.io.formats import write_image
from medsam.jobs.segment import count_voxels

BOX = "--box 2,2,12,12"


def test_a_volume_for_a_picture_is_refused_before_the_model_is_loaded(series, tmp_path):
    (tmp_path / "two.csv").write_text("slice,x0,y0,x1,y1\n2,2,2,12,12\n3,2,2,12,12\n")
    call = f"segment {series} --prompts {tmp_path}/two.csv --window lung --model none"
    assert refused(medsam(f"{call} -o {tmp_path}/m.png"), "6 slices")


@pytest.mark.parametrize("verb", [f"segment IMAGE {BOX} --slice 2", "annotate IMAGE --markers MARKERS"])
def test_two_series_on_the_grid_of_the_image_are_refused_before_the_model_is_loaded(series, tmp_path, verb):
    write_image(read_image(series), tmp_path / "ct.nii.gz")
    write_series(series / "late", Phantom(rows=16, columns=16, series="1.2.826.0.1.3680043.8.498.2"))
    (tmp_path / "markers.csv").write_text("label,slice,x0,y0,x1,y1\n1,2,2,2,12,12\n")
    call = f"{verb} --window lung --modality CT --reference {series} --model none"
    call = call.replace("MARKERS", f"{tmp_path}/markers.csv").replace("IMAGE", f"{tmp_path}/ct.nii.gz")
    assert refused(medsam(f"{call} -o {tmp_path}/m.dcm"), "have the grid of the mask", "--series")
    assert not (tmp_path / "m.dcm").exists()


def test_an_output_without_a_suffix_is_a_folder_even_for_one_image(picture, tmp_path):
    out, call = tmp_path / "out", f"segment {picture} {BOX}"
    assert medsam(f"{call} -o {out}/ --format nrrd --overlay {out}/").code == 0
    assert sorted(p.name for p in out.iterdir()) == ["eye.nrrd", "eye.png", "medsam.json"]
    assert refused(medsam(f"{call} -o {tmp_path}/m.png --format nrrd"), "ends in .nrrd")
    assert refused(medsam(f"{call} -o {tmp_path}/m.png --format gif"), "gif")
    assert refused(medsam(f"{call} -o {out}/ --format rtstruct"), "DICOM")


def test_a_stopped_run_leaves_its_record_and_the_next_one_adds_to_it(picture, tmp_path):
    folder, out, record = tmp_path / "in", tmp_path / "out", tmp_path / "run.json"
    folder.mkdir()
    for number in range(7):
        shutil.copy(picture, folder / f"{number:02}.png")
    call = f"segment {folder} {BOX} -o {out} --record {record}"
    main = [sys.executable, "-c", "from medsam.cli.app import main; main()"]
    process = subprocess.Popen(
        [*main, *call.split()], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell may have it ignored
    )  # fmt: skip
    while process.poll() is None and not (out / "01.png").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert "interrupted" in said
    done = len(list(out.glob("*.png")))
    first = json.loads(record.read_text())
    assert len(first["runs"]) in (done, done - 1)  # the last mask may have been written when the signal came
    ended = medsam(f"segment {folder} {BOX} -o {out} --record {record}")
    assert ended.code == 0
    rows = json.loads(record.read_text())["runs"]
    assert len(rows) in (7, 6)
    assert rows[0]["written"] == first["written"]
    assert first["runs"][0].items() <= rows[0].items()
    listed = json.loads((out / "medsam.json").read_text())["runs"]
    assert [Path(row["output"]).name for row in listed] == [f"{number:02}.png" for number in range(7)]


def test_voxels_are_counted_for_labels_that_are_there():
    labels = np.array([[[0, 3, 3], [7, 0, 3]]], np.uint8)
    assert count_voxels(Mask(labels, Grid(labels.shape), {9: "not drawn"})) == {3: 3, 7: 1}
