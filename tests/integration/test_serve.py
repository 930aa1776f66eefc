"""The server with the real default model on a real scan: its voxels are the library's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from serving import bearer, scan_file, serve, unpack_runs

import medsam
from medsam.annotation.study.label_runs import decode_runs
from medsam.cli.app import run
from medsam.errors import ModelUnavailableError
from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan

pytestmark = pytest.mark.integration


def test_a_prompt_and_a_job_give_the_librarys_own_voxels(tmp_path: Path, shared_data: Path) -> None:
    source = sorted((shared_data / "volumes" / "heart_left_atrium").glob("*_image.nii.gz"))[0]
    expert = medsam.read_mask(source.with_name(source.name.replace("_image", "_label"))).labels > 0
    try:
        predictor = medsam.load_predictor(device="cpu")
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    image = medsam.normalize(medsam.read_image(source, modality="MR"))
    k = int(np.argmax(expert.sum(axis=(1, 2))))
    rows, columns = np.flatnonzero(expert[k].any(axis=1)), np.flatnonzero(expert[k].any(axis=0))
    box = tuple(float(v) for v in (columns[0] - 4, rows[0] - 4, columns[-1] + 4, rows[-1] + 4))
    with serve(tmp_path, predictor) as served:
        case = add_scan(served.project, source, intensity=IntensityOptions("MR"))
        path = f"/api/v1/cases/{case.id}"
        body = {"slice": k, "box": box, "save": True}
        answer = served.client.post(f"{path}/prompts", json=body, headers=bearer() | {"If-Match": '"v0"'})
        assert answer.status_code == 200, answer.text
        own = medsam.segment_volume(predictor, image, boxes={k: [box]}).labels
        assert np.array_equal(unpack_runs(answer.json()["mask"]), own[k] > 0)
        assert np.array_equal(decode_runs(served.client.get(f"{path}/mask").content).unfold(), own)
        assert medsam.dice(own[k] > 0, expert[k]) > 0.7
        solid = {"prompts": [{"label": 2, "box_3d": [box[0], box[1], k - 1, box[2], box[3], k + 1]}]}
        job = served.client.post(f"{path}/jobs", json=solid, headers=bearer() | {"If-Match": '"v1"'}).json()
        assert "event: done" in served.client.get(f"{path}/jobs/{job['id']}/events").text
        drawn = decode_runs(served.client.get(f"{path}/mask").content).unfold()
        box3d = [(box[0], box[1], k - 1, box[2], box[3], k + 1)]
        cache = served.app.state.server.cache  # slices embedded alone or in a batch differ in the last bits
        again = medsam.segment_volume(predictor, image, box3d=box3d, labels=[2], cache=cache).labels
        assert np.array_equal(drawn, np.where(own > 0, own, again))  # voxels of objects that were not named stay


def test_the_command_and_the_server_share_embeddings(tmp_path: Path) -> None:
    scan, folder = scan_file(tmp_path / "scan.nii.gz"), tmp_path / "project" / "embeddings"
    words = [
        "segment",
        str(scan),
        "--box",
        "10,8,32,22",
        "--modality",
        "MR",
        "--model",
        "openmedsam-lite",
        "--device",
        "cpu",
    ]
    words += ["--cache", str(folder), "-o"]
    with serve(tmp_path, medsam.load_predictor("openmedsam-lite", device="cpu"), ahead_seconds=3600) as served:
        path = f"/api/v1/cases/{served.case}"
        assert run([*words, str(tmp_path / "a.nii.gz"), "--slice", "5"]) == 0  # a slice without the block
        assert served.client.get(f"{path}/embeddings/stored/5").json()["embedded"] is True
        assert served.client.get(f"{path}/embeddings/stored/2").json()["embedded"] is False
        answer = served.client.post(f"{path}/prompts", json={"slice": 2, "box": [10, 8, 32, 22]})
        made = sorted(file.name for file in folder.glob("*/*"))
        assert run([*words, str(tmp_path / "b.nii.gz"), "--slice", "2"]) == 0
        assert sorted(file.name for file in folder.glob("*/*")) == made and len(made) == 2
        mask = medsam.read_mask(tmp_path / "b.nii.gz").labels[2] > 0
        assert np.array_equal(unpack_runs(answer.json()["mask"]), mask)
