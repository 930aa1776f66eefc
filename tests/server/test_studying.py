"""Times from what happens on the server, the report, agreement and consensus over HTTP."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from serving import BLOCK, OTHER, SHAPE, TOKEN, Served, bearer, block, prompt, serve, whole_mask

from medsam.server.nninteractive_messages import pack_array
from medsam.server.tokens import TokenHolder, hash_token


def path(served: Served, tail: str) -> str:
    return f"/api/v1/cases/{served.case}/{tail}"


def edit(served: Served, version: int, index: int, value: int, token: str = TOKEN):
    data = np.full(SHAPE[1:], value, np.uint8).tobytes()
    headers = bearer(token) | {"If-Match": f'"v{version}"', "Content-Type": "application/octet-stream"}
    return served.client.put(path(served, f"mask/stored/{index}"), content=data, headers=headers)


def test_prompts_edits_and_reviews_are_recorded_as_what_they_are(served: Served) -> None:
    assert prompt(served, version=0).status_code == 200
    assert edit(served, 1, 0, 1).status_code == 200
    assert served.client.put(path(served, "status"), json={"status": "reviewed"}).status_code == 200
    phases = [one.phase for one in served.project.activities()]
    assert phases == ["marking", "model", "refining", "review"]
    [row] = served.client.get("/api/v1/report").json()["times"]
    assert (row["case"], row["annotator"], row["with_model"]) == (1, "ana", True)
    assert row["model"] > 0 and row["total"] == pytest.approx(sum(row[p] for p in set(phases)), abs=0.01)


def test_events_of_the_page_make_the_times_and_pauses_are_idle(served: Served) -> None:
    events = [{"phase": "marking", "ago": ago} for ago in (200, 180, 150)] + [
        {"phase": "refining", "ago": ago} for ago in (60, 20, 0)
    ]
    answer = served.client.post(path(served, "activity"), json={"events": events})
    assert answer.json() == {"recorded": 6}
    told = served.client.get("/api/v1/report").json()
    [row] = told["times"]
    assert told["idle_seconds"] == 60 and not row["with_model"]
    assert (row["marking"], row["refining"], row["idle"]) == (
        pytest.approx(50, abs=0.1), pytest.approx(60, abs=0.1), pytest.approx(90, abs=0.1),
    )  # fmt: skip
    at = [one.at for one in served.project.activities()]
    assert time.time() - at[-1] < 60
    for wrong in ({"events": []}, {"events": [{"phase": "sleeping"}]}, {"events": [{"phase": "model", "ago": -1}]}):
        assert served.client.post(path(served, "activity"), json=wrong).status_code == 422


def test_times_of_others_are_for_the_admin(tmp_path: Path) -> None:
    tokens = {hash_token(TOKEN): TokenHolder("ana", "admin"), hash_token(OTHER): TokenHolder("bob", "annotate")}
    with serve(tmp_path, tokens=tokens) as served:
        for token in (TOKEN, OTHER):
            body = {"events": [{"phase": "marking"}]}
            assert served.client.post(path(served, "activity"), json=body, headers=bearer(token)).status_code == 200
        told = served.client.get("/api/v1/report").json()["times"]
        assert [row["annotator"] for row in told] == ["ana", "bob"]
        own = served.client.get("/api/v1/report", headers=bearer(OTHER)).json()["times"]
        assert [row["annotator"] for row in own] == ["bob"]


def test_agreement_and_consensus_of_two(served: Served) -> None:
    alone = served.client.get(path(served, "agreement"))
    assert alone.status_code == 422 and "two or more" in alone.json()["expected"]
    assert prompt(served, version=0).status_code == 200
    assert prompt(served, version=0, token=OTHER, box=[10, 8, 32, 15]).status_code == 200
    [row] = served.client.get(path(served, "agreement")).json()
    rows, columns = BLOCK[1].stop - BLOCK[1].start, BLOCK[2].stop - BLOCK[2].start
    assert (row["first"], row["second"], row["first_voxels"]) == ("ana", "bob", rows * columns)
    a, b = row["first_voxels"], row["second_voxels"]
    assert row["dice"] == pytest.approx(2 * min(a, b) / (a + b)) and b < a
    assert row["volume_difference"] == pytest.approx(2 * (b - a) / (a + b))
    made = served.client.post(path(served, "consensus"), json={})
    assert made.status_code == 200 and made.json()["annotator"] == "consensus" and made.json()["kind"] == "consensus"
    together = served.client.get(path(served, "mask/stored/2?annotator=consensus")).content
    assert np.count_nonzero(np.frombuffer(together, np.uint8)) == b
    assert served.client.get(path(served, "export?format=nifti&annotator=consensus")).status_code == 200
    again = served.client.post(path(served, "consensus"), json={"annotators": ["ana", "bob"]})
    assert again.json()["version"] == 2
    assert served.client.post(path(served, "consensus"), json={"annotators": ["ana", "eve"]}).status_code == 422
    [row] = served.client.get(path(served, "agreement")).json()  # a consensus is compared with nobody
    assert whole_mask(served).any()


def test_work_of_other_viewers_counts_for_the_case(served: Served) -> None:
    def phases() -> list[str]:
        return [one.phase for one in served.project.activities()]

    client = served.client
    assert client.get(f"/monailabel/datastore/image?image={served.case}").status_code == 200
    sent = {"params": (None, '{"roi": [10, 32, 8, 22, 1, 4]}')}
    assert client.post(f"/monailabel/infer/medsam_3d?image={served.case}&output=json", files=sent).status_code == 200
    assert phases() == ["marking", "marking", "model"]
    lease = {"X-Lease-Token": client.post("/nninteractive/claim").json()["lease_token"]}
    for values, known in ((block(), True), (block().astype(np.float32), True), (block() + 1, False)):
        before = len(phases())
        octets = lease | {"X-Meta": "{}", "Content-Type": "application/octet-stream"}
        assert client.post("/nninteractive/set_image", content=pack_array(values[None]), headers=octets).is_success
        buffer = {"shape": list(SHAPE), "dtype": "uint8"}
        assert client.post("/nninteractive/set_target_buffer", json=buffer, headers=lease).is_success
        box = {"bbox_coords": [[2, 3], [8, 23], [10, 33]], "include_interaction": True}
        assert client.post("/nninteractive/add_bbox_interaction", json=box, headers=lease).is_success
        assert client.post("/nninteractive/undo", headers=lease).is_success
        assert phases()[before:] == (["marking", "marking", "model", "refining"] if known else [])
    before, tile = len(phases()), io.BytesIO()
    Picture.fromarray(block()[2].astype(np.uint8)).save(tile, "PNG")
    body = {"b64img": base64.b64encode(tile.getvalue()).decode(), "bbox": [8, 8, 32, 22]}
    for place, status in (("case-1/", 200), ("case-2/", 422), ("", 200)):
        assert client.post(f"/qupath/{TOKEN}/{place}sam/", json=body).status_code == status
    assert phases()[before:] == ["marking", "model"]
    assert {one.annotator for one in served.project.activities()} == {"ana"}
