"""Masks: what was drawn by hand, undo after a restart, measurements, exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import (
    BLOCK,
    SHAPE,
    Served,
    bearer,
    prompt,
    scan_file,
    serve,
    whole_mask,
)

import medsam
from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan


def test_what_was_drawn_by_hand_stays_until_it_is_released(served: Served) -> None:
    drawn = np.zeros((40, 48), np.uint8)
    drawn[0, :5] = 1
    path = f"/api/v1/cases/{served.case}/mask/stored/2"
    edit = served.client.put(
        path, content=drawn.tobytes(), headers={"If-Match": '"v0"', "Content-Type": "application/octet-stream"}
    )
    assert edit.status_code == 200 and edit.json()["kind"] == "edit" and edit.json()["locked"] == {"1": [2]}
    assert prompt(served, version=1).status_code == 200
    assert np.array_equal(whole_mask(served)[2], drawn)
    assert prompt(served, version=2, release=True).status_code == 200
    assert whole_mask(served)[2][BLOCK[1:]].all() and not whole_mask(served)[2][0, :5].any()
    short = served.client.put(path, content=b"123", headers={"If-Match": '"v3"'})
    assert short.status_code == 422 and "40 x 48" in short.json()["expected"]


def test_undo_and_redo_survive_a_restart(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        prompt(served, version=0)
        prompt(served, version=1, slice=3)
        full = whole_mask(served)
    with serve(tmp_path) as served:
        undone = served.client.post(f"/api/v1/cases/{served.case}/undo", headers={"If-Match": '"v2"'})
        assert undone.json()["version"] == 3
        assert not whole_mask(served)[3].any() and whole_mask(served)[2].any()
    with serve(tmp_path) as served:
        redone = served.client.post(f"/api/v1/cases/{served.case}/redo", headers={"If-Match": '"v3"'})
        assert redone.headers["etag"] == '"v4"'
        assert np.array_equal(whole_mask(served), full)
        kinds = [move["kind"] for move in served.client.get(f"/api/v1/cases/{served.case}/history").json()]
        assert kinds == ["save", "save", "undo", "redo"]
        nothing = served.client.post(f"/api/v1/cases/{served.case}/redo", headers={"If-Match": '"v4"'})
        assert nothing.status_code == 422


def test_objects_status_measurements_and_exports(served: Served, tmp_path: Path) -> None:
    prompt(served, version=0)
    path = f"/api/v1/cases/{served.case}"
    named = served.client.put(f"{path}/objects/1", json={"label": 1, "name": "cyst", "color": [1, 2, 3]})
    assert named.status_code == 200 and served.client.get(f"{path}/objects").json() == [
        named.json() | {"locked": False}
    ]
    assert served.client.put(f"{path}/status", json={"status": "done"}).json()["status"] == "done"
    assert served.client.put(f"{path}/status", json={"status": "finished"}).status_code == 422
    [row] = served.client.get(f"{path}/measurements").json()
    assert (row["name"], row["voxels"], row["volume_ml"]) == ("cyst", 180, pytest.approx(180 * 0.75 / 1000))
    assert (row["mean"], row["spread"], row["unit"], row["long_axis_px"]) == (200, 0, None, None)  # an MR has no HU
    for format, suffix in {
        "nifti": ".nii.gz",
        "seg.nrrd": ".seg.nrrd",
        "metaimage": ".mha",
        "npz": ".npz",
    }.items():
        answer = served.client.get(f"{path}/export", params={"format": format})
        assert answer.status_code == 200, answer.text
        file = tmp_path / f"out{suffix}"
        file.write_bytes(answer.content)
        assert "case-1" in answer.headers["content-disposition"]
        mask = medsam.read_mask(file, reference=tmp_path / "scan.nii.gz")
        assert np.array_equal(mask.labels > 0, whole_mask(served) > 0), format
    rtstruct = served.client.get(f"{path}/export", params={"format": "rtstruct"})
    assert rtstruct.status_code == 422 and str(tmp_path) not in rtstruct.text
    assert served.client.get(f"{path}/export", params={"format": "coco"}).json()["error"] == "OutputError"
    assert served.client.get(f"{path}/export", params={"format": "../x"}).status_code == 422


def test_a_ct_is_measured_in_hounsfield_units_and_a_picture_in_pixels(tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        values = np.full((4, 40, 48), -50, np.int16)
        values[1, 10:20, 12:30] = 300
        values[1, 10:15, 12:30] = 100
        ct = add_scan(
            served.project, scan_file(tmp_path / "ct.nii.gz", values), intensity=IntensityOptions("CT", "bone")
        )
        picture = tmp_path / "grey.png"
        Image.fromarray(np.arange(40 * 48, dtype=np.uint32).reshape(40, 48).clip(0, 200).astype(np.uint8)).save(picture)
        grey = add_scan(served.project, picture, intensity=IntensityOptions("ultrasound"))
        drawn = np.zeros((40, 48), np.uint8)
        drawn[10:20, 12:30] = 1
        rows = []
        for case, index in ((ct, 1), (grey, 0)):
            path = f"/api/v1/cases/{case.id}"
            edit = served.client.put(
                f"{path}/mask/stored/{index}", content=drawn.tobytes(), headers={"If-Match": '"v0"'}
            )
            assert edit.status_code == 200
            rows += served.client.get(f"{path}/measurements").json()
    assert (rows[0]["mean"], rows[0]["spread"], rows[0]["unit"]) == (200, 100, "HU")
    assert (rows[1]["volume_ml"], rows[1]["long_axis_mm"], rows[1]["unit"]) == (None, None, None)
    assert rows[1]["long_axis_px"] == pytest.approx(np.hypot(10, 18)) and rows[1]["voxels"] == 180


def test_slices_drawn_by_hand_are_released_where_a_prompt_changes_them(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}"
    drawn = np.zeros(SHAPE[1:], np.uint8)
    drawn[0, 0] = 1
    octets = {"Content-Type": "application/octet-stream"}
    for version, k in enumerate((2, 3)):
        head = served.client.put(
            f"{path}/mask/stored/{k}", content=drawn.tobytes(), headers=octets | {"If-Match": f'"v{version}"'}
        )
        assert head.status_code == 200
    assert head.json()["locked"] == {"1": [2, 3]}
    kept = prompt(served, version=2).json()["head"]
    assert kept["locked"] == {"1": [2, 3]} and whole_mask(served)[2].sum() == 1
    released = prompt(served, version=3, release=True).json()["head"]
    assert released["locked"] == {"1": [3]} and whole_mask(served)[2].sum() == 180  # the others stay locked


def test_a_body_longer_than_a_slice_is_not_taken_in(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}/mask/stored/1"
    for size, told in ((40 * 48 + 1, "more than 1920 bytes"), (40 * 48 - 1, "1919 bytes"), (1 << 22, "more than")):
        refused = served.client.put(path, content=bytes(size), headers=bearer() | {"If-Match": '"v0"'})
        assert refused.status_code == 422 and refused.json()["got"].startswith(told)
    assert served.head()["version"] == 0
