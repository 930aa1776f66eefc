"""Cases: geometry, slices as stored, uploads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from serving import (
    OTHER,
    SHAPE,
    Served,
    bearer,
    block,
    passing_files,
    scan_file,
)


def test_a_case_tells_its_geometry_and_gives_its_slices_as_stored(served: Served) -> None:
    [case] = served.client.get("/api/v1/cases").json()
    assert (case["number"], case["shape"], case["status"]) == (1, list(SHAPE), "new")
    details = served.client.get(f"/api/v1/cases/{served.case}").json()
    assert details["planes"]["axial"] == {
        "axis": 0,
        "slices": 6,
        "height": 40,
        "width": 48,
        "spacing_mm": [3, 0.5, 0.5],
    }
    assert details["planes"]["coronal"] == {
        "axis": 1,
        "slices": 40,
        "height": 6,
        "width": 48,
        "spacing_mm": [0.5, 3, 0.5],
    }
    answer = served.client.get(f"/api/v1/cases/{served.case}/slices/coronal/12")
    assert (answer.headers["x-shape"], answer.headers["x-dtype"]) == ("6,48", "<i2")
    assert answer.headers["x-spacing-mm"] == "0.5,3,0.5" and answer.headers["x-window"] == "0,200"
    assert np.array_equal(np.frombuffer(answer.content, "<i2").reshape(6, 48), block()[:, 12])
    again = served.client.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert served.client.get(f"/api/v1/cases/{served.case}/slices/coronal/40").status_code == 404
    picture = Picture.open(io.BytesIO(served.client.get(f"/api/v1/cases/{served.case}/thumbnail").content))
    assert picture.size == (48, 40) and picture.getpixel((20, 15)) == (255, 255, 255)


def test_an_uploaded_scan_becomes_a_case_and_a_hostile_one_does_not(served: Served, tmp_path: Path) -> None:
    other = block()
    other[0, 0, 0] = 9
    data = scan_file(tmp_path / "up.nii.gz", other).read_bytes()
    sent = served.client.post("/api/v1/cases", params={"name": "DOE^JOHN.nii.gz", "modality": "MR"}, content=data)
    assert sent.status_code == 201 and sent.json()["number"] == 2
    assert "DOE" not in served.project.cases()[1].source
    uploads = tmp_path / "project" / "uploads"
    assert len(list(uploads.iterdir())) == 1
    broken = served.client.post("/api/v1/cases", params={"name": "x.nii.gz"}, content=data[:300])
    assert broken.status_code == 400 and str(tmp_path) not in broken.text
    assert served.client.post("/api/v1/cases", params={"name": "../../x.exe"}, content=data).status_code == 400
    assert len(list(uploads.iterdir())) == 1 and passing_files(served) == []


def test_a_lock_is_kept_with_the_case_and_seen_by_others(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}/objects"
    assert served.client.patch(f"{path}/1", json={"locked": True}).status_code == 422  # it has no name yet
    named = {"label": 1, "name": "liver", "color": None, "code": None}
    served.client.put(f"{path}/1", json=named)
    assert served.client.get(path).json() == [{**named, "locked": False}]
    assert served.client.patch(f"{path}/1", json={"locked": True}).status_code == 204
    served.client.put(f"{path}/1", json={**named, "name": "Liver"})
    others = served.client.get(path, headers=bearer(OTHER)).json()
    assert others == [{**named, "name": "Liver", "locked": True}]
    served.client.patch(f"{path}/1", json={"locked": False}, headers=bearer(OTHER))
    assert served.client.get(path).json()[0]["locked"] is False
