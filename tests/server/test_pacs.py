"""The server's PACS: its series, cases of them, masks stored there; and no PACS where none was named."""

from __future__ import annotations

from pathlib import Path

from hostile_pacs import SERIES, STUDY, HostilePacs, says, slices
from hostile_pacs import serve as serve_pacs
from serving import Served, serve

SERIES_BODY = {"study": STUDY, "series": SERIES, "window": "soft-tissue"}


def test_a_series_becomes_a_case_and_its_mask_is_stored(tmp_path: Path) -> None:
    with serve_pacs(HostilePacs(slices())) as pacs, serve(tmp_path, pacs=pacs.archive) as served:
        found = served.client.post("/api/v1/pacs/query", json={"modality": "CT"}).json()
        assert found == [{"study": STUDY, "series": SERIES, "modality": "CT", "description": "abdomen", "instances": 3}]
        added = served.client.post("/api/v1/pacs/cases", json=SERIES_BODY)
        assert added.status_code == 201 and added.json()["shape"] == [3, 32, 24]
        path = f"/api/v1/cases/{added.json()['id']}"
        assert served.client.get(path).json()["pacs"] is True
        assert served.client.post(f"{path}/store").status_code == 422  # nothing was drawn
        drawn = served.client.post(
            f"{path}/prompts", json={"slice": 1, "box": [2, 2, 20, 20], "save": True}, headers={"If-Match": '"v0"'}
        )
        assert drawn.status_code == 200, drawn.text
        for format in ("dicom-seg", "rtstruct"):
            stored = served.client.post(f"{path}/store", params={"format": format})
            assert (stored.status_code, stored.json()["stored"]) == (200, 1), stored.text
            [uid] = stored.json()["instances"]
            assert uid.encode() in pacs.received[-1] and STUDY.encode() in pacs.received[-1]
        assert served.client.post(f"{path}/store?format=stl").status_code == 422


def test_a_pacs_that_refuses_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with serve_pacs(HostilePacs(slices())) as pacs, serve(tmp_path, pacs=pacs.archive) as served:
        pacs.search = says(b"no", status=500)
        for route, body in (("query", {}), ("cases", SERIES_BODY)):
            refused = served.client.post(f"/api/v1/pacs/{route}", json=body)
            assert (refused.status_code, refused.json()["error"]) == (502, "RemoteError")
            assert "hunter2" not in refused.text
        assert list((tmp_path / "project" / "uploads").iterdir()) == []


def test_without_a_pacs_nothing_is_asked(served: Served) -> None:
    assert served.client.post("/api/v1/pacs/query", json={}).json()["got"] == "a server without a PACS"
    assert served.client.get(f"/api/v1/cases/{served.case}").json()["pacs"] is False
    refused = served.client.post(f"/api/v1/cases/{served.case}/store")
    assert refused.status_code == 422 and "came from no PACS" in refused.json()["got"]
    assert served.client.post("/api/v1/pacs/cases", json={"study": "../1", "series": "1"}).status_code == 422
