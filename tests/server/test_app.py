"""The application as a whole: a case is looked at, prompted, drawn on, conflicted, undone, measured and exported."""

from __future__ import annotations

import numpy as np
from serving import (
    AFFINE,
    Served,
)


def test_the_affine_and_health(served: Served) -> None:
    affine = np.array(served.client.get(f"/api/v1/cases/{served.case}").json()["affine"])
    world = affine @ np.array([0, 0, 0, 1])
    assert np.allclose(world[:3], (-AFFINE[0, 3], -AFFINE[1, 3], AFFINE[2, 3]))  # RAS of the file, LPS here
    assert served.client.get("/healthz", headers={"Authorization": ""}).json() == {"ok": True}
    told = {"ok": True, "stage": "ready", "model": "bright", "project": True, "room": True}
    assert served.client.get("/readyz").json() == told
    served.client.get("/api/v1/cases")
    text = served.client.get("/metrics").text
    assert 'medsam_requests_total{method="GET",route="/api/v1/cases",status="200"} 1.0' in text
    assert "medsam_waiting 0.0" in text and served.case not in text
    document = served.client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1") and len(document["paths"]) >= 18
