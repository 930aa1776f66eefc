"""Prompts and jobs: the library's own voxels, progress, cancelling."""

from __future__ import annotations

import threading

import numpy as np
from serving import (
    OTHER,
    Served,
    bearer,
    prompt,
    unpack_runs,
    whole_mask,
)

import medsam
from medsam.imaging.intensity import normalize
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.segment import segment


def test_a_prompt_gives_the_librarys_own_voxels_and_is_saved_only_when_asked(served: Served) -> None:
    image = normalize(medsam.read_image(served.project.cases()[0].source, modality="MR"))
    expected = medsam.segment_volume(served.app.state.server.predictor, image, boxes={2: [(10, 8, 32, 22)]}).labels
    answer = prompt(served)
    assert answer.status_code == 200 and answer.json()["head"] is None
    assert np.array_equal(unpack_runs(answer.json()["mask"]), expected[2] == 1)
    assert served.head()["version"] == 0
    saved = prompt(served, version=0)
    assert saved.headers["etag"] == '"v1"' and saved.json()["head"]["kind"] == "prompt"
    assert np.array_equal(whole_mask(served), expected)
    assert served.client.get("/api/v1/cases").json()[0]["status"] == "in work"
    sliced = served.client.get(f"/api/v1/cases/{served.case}/mask/stored/2")
    assert np.array_equal(np.frombuffer(sliced.content, np.uint8).reshape(40, 48), expected[2])
    coronal = prompt(served, version=1, plane="coronal", slice=15, box=[10, 0, 32, 5], label=2)
    assert coronal.status_code == 200
    mask = whole_mask(served)
    before = medsam.Mask(expected, image.grid)
    asked = Prompt(2, 15, (10, 0, 32, 5))
    assert np.array_equal(
        mask, segment(served.app.state.server.predictor, image, [asked], plane=1, previous=before).mask.labels
    )


def test_a_job_makes_a_whole_object_and_says_how_far_it_is(served: Served) -> None:
    body = {"prompts": [{"box_3d": [10, 8, 1, 32, 22, 4], "label": 3}]}
    path = f"/api/v1/cases/{served.case}/jobs"
    job = served.client.post(path, json=body, headers={"If-Match": '"v0"'}).json()
    events = served.client.get(f"{path}/{job['id']}/events").text
    assert "event: done" in events and '"done":4,"total":4' in events
    image = normalize(medsam.read_image(served.project.cases()[0].source, modality="MR"))
    expected = medsam.segment_volume(
        served.app.state.server.predictor, image, box3d=[(10, 8, 1, 32, 22, 4)], labels=[3]
    )
    assert np.array_equal(whole_mask(served), expected.labels)
    late = served.client.post(path, json=body, headers={"If-Match": '"v0"'}).json()
    served.client.get(f"{path}/{late['id']}/events")
    told = served.client.get(f"{path}/{late['id']}").json()
    assert (told["state"], told["problem"]["error"]) == ("failed", "Conflict")
    markers = {"markers": [{"slice": k, "points": [[12, 15], [29, 15], [20, 10], [20, 19]]} for k in (1, 4)]}
    marked = served.client.post(path, json=markers, headers={"If-Match": '"v1"'}).json()
    served.client.get(f"{path}/{marked['id']}/events")
    assert set(np.unique(whole_mask(served)[2])) == {0, 1} and served.head()["version"] == 2


def test_a_job_that_an_ending_server_drops_says_so_to_whoever_follows_it(served: Served) -> None:
    begun, go = threading.Event(), threading.Event()
    worker = served.app.state.server.worker
    running = worker.job("x", lambda: begun.set() or go.wait(60))
    begun.wait(60)
    path = f"/api/v1/cases/{served.case}/jobs"
    body = {"prompts": [{"slice": 1, "box": [1, 1, 5, 5]}]}
    job = served.client.post(path, json=body, headers={"If-Match": '"v0"'}).json()
    worker.close(0)
    told = served.client.get(f"{path}/{job['id']}/events").text
    go.set()
    running.result(60)
    assert "event: failed" in told and "Closing" in told and served.head()["version"] == 0


def test_a_cancelled_job_saves_nothing(served: Served) -> None:
    cancelled = threading.Event()
    hold = served.app.state.server.worker.job("x", lambda: cancelled.wait(60))
    path = f"/api/v1/cases/{served.case}/jobs"
    job = served.client.post(
        path, json={"prompts": [{"slice": 1, "box": [1, 1, 5, 5]}]}, headers={"If-Match": '"v0"'}
    ).json()
    assert served.client.delete(f"{path}/{job['id']}").status_code == 200
    cancelled.set()
    assert hold.result(60)
    assert "event: cancelled" in served.client.get(f"{path}/{job['id']}/events").text
    assert served.head()["version"] == 0
    other = served.client.get(f"{path}/{job['id']}", headers=bearer(OTHER))
    assert other.status_code == 404
