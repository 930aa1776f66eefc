"""A scan is read once, in its own order of axes, and its slices are those of the plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hostile_pacs import GOOD, SERIES, STUDY, HostilePacs, encode, serve

from command import medsam
from medsam import Mask, read_image, read_mask, write_mask
from medsam.errors import IntensityError
from medsam.io.formats import write_image
from medsam.jobs.inputs import local_path, read_scan, store_result
from medsam.jobs.options import FileOptions, IntensityOptions


def test_the_slices_of_a_plane_come_first_and_values_are_normalized(tmp_path):
    values = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / "mr.nii")
    scan = read_scan(tmp_path / "mr.nii", FileOptions(), IntensityOptions("MR"), "sagittal")
    assert scan.axis == 2
    assert (scan.image.grid.shape, scan.sliced.grid.shape) == ((2, 3, 4), (4, 2, 3))
    assert scan.image.values.dtype == np.uint8
    assert np.array_equal(scan.sliced.values[1], scan.image.values[:, :, 1])
    assert read_scan(tmp_path / "mr.nii", FileOptions(), IntensityOptions("MR")).axis == 0
    with pytest.raises(IntensityError, match="--modality"):
        read_scan(tmp_path / "mr.nii", FileOptions(), IntensityOptions())


def test_a_path_is_given_as_it_is_and_nothing_is_stored_elsewhere(tmp_path):
    with local_path(tmp_path / "ct.nii") as path:
        assert path == tmp_path / "ct.nii"
    store_result(tmp_path / "ct", tmp_path / "m.dcm")


class CountedPacs(HostilePacs):
    """An archive that counts how often its series is fetched, and keeps the objects that are stored."""

    def __init__(self) -> None:
        super().__init__(GOOD)
        give, self.fetches = self.fetch, 0

        def count(handler: BaseHTTPRequestHandler) -> None:
            self.fetches += 1
            give(handler)

        self.fetch = count


@pytest.fixture
def pacs() -> Iterator[CountedPacs]:
    with serve(CountedPacs()) as archive:
        yield archive


@pytest.fixture
def scan(pacs, tmp_path: Path) -> Path:
    """The series of the archive as a NIfTI file, with a mask of it."""
    with local_path(pacs.address) as path:
        image = read_image(path)
    write_image(image, tmp_path / "ct.nii.gz")
    labels = np.zeros(image.grid.shape, np.uint8)
    labels[1, 4:20, 4:20] = 3
    write_mask(Mask(labels, image.grid), tmp_path / "m.nii.gz")
    (tmp_path / "markers.csv").write_text("label,slice,x0,y0,x1,y1\n1,1,3,8,15,8\n1,1,8,3,8,15\n")
    pacs.fetches = 0
    return tmp_path


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("convert", "m.nii.gz m.dcm"),
        ("segment", "ct.nii.gz --modality CT --window lung --slice 1 --box 2,2,15,15 -o m.dcm"),
        ("annotate", "ct.nii.gz --modality CT --window lung --markers markers.csv -o m.dcm"),
    ],
)
def test_a_reference_in_an_archive_is_fetched_once_and_the_mask_is_stored_there(scan, pacs, monkeypatch, verb, flags):
    monkeypatch.chdir(scan)
    ended = medsam(f"{verb} {flags} --reference {pacs.address}")
    assert ended.code == 0, ended.err
    assert pacs.fetches == 1
    [stored] = pacs.received
    assert Path("m.dcm").read_bytes() in stored
    made = read_mask("m.dcm", reference=read_image("ct.nii.gz").grid)
    assert made.labels[1].any()
    if verb == "convert":
        assert np.array_equal(made.labels > 0, read_mask("m.nii.gz").labels > 0)


def test_a_mask_to_correct_is_fetched_from_an_archive(scan, pacs, monkeypatch):
    monkeypatch.chdir(scan)
    assert medsam(f"convert m.nii.gz old.dcm --reference {pacs.address}").code == 0
    old = pydicom.dcmread("old.dcm")
    old.StudyInstanceUID, old.SeriesInstanceUID = STUDY, SERIES
    with serve(HostilePacs([encode(old)])) as masks:
        call = f"segment {pacs.address} --window lung --slice 0 --box 2,2,15,15 --from-mask {masks.address}"
        ended = medsam(f"{call} -o new.nii.gz --record run.json")
    assert ended.code == 0, ended.err
    labels = read_mask("new.nii.gz").labels
    assert labels[0].any()
    assert np.array_equal(labels[1] > 0, read_mask("m.nii.gz").labels[1] > 0)
    assert "hunter2" not in Path("run.json").read_text()


def test_a_series_is_fetched_once_where_its_prompts_lie_in_the_patient(pacs, tmp_path):
    with local_path(pacs.address) as path:
        grid = read_image(path).grid
    pacs.fetches = 0
    points = [{"position": list(grid.to_world(np.array([[1, 8, 8]]))[0])}]
    node = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
    (tmp_path / "p.mrk.json").write_text(json.dumps({"markups": [node]}))
    call = f"segment {pacs.address} --window lung --prompts {tmp_path}/p.mrk.json -o"
    ended = medsam(f"{call} {tmp_path}/m.nii.gz --model openmedsam-lite --record {tmp_path}/run.json")
    assert ended.code == 0, ended.err
    assert pacs.fetches == 1
    [run] = json.loads((tmp_path / "run.json").read_text())["runs"]
    assert run["prompts"][0]["slice"] == 1
    assert run["prompts"][0]["points"] == [[8, 8]]
