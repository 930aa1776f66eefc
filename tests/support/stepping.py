"""Steps of a served case, and something drawn that they can change."""

from __future__ import annotations

import numpy as np
from serving import Served, bearer


def step(served: Served, version: int, token: str = "", kept: tuple[int, ...] = (), **do: object):
    headers = {"If-Match": f'"v{version}"'} | (bearer(token) if token else {})
    body = {"do": do, "kept": list(kept)}
    return served.client.post(f"/api/v1/cases/{served.case}/steps", json=body, headers=headers)


def draw(served: Served, version: int, drawn: np.ndarray, index: int, plane: str = "stored"):
    path = f"/api/v1/cases/{served.case}/mask/{plane}/{index}"
    return served.client.put(path, content=drawn.astype(np.uint8).tobytes(), headers={"If-Match": f'"v{version}"'})


def move(served: Served, version: int, way: str):
    return served.client.post(f"/api/v1/cases/{served.case}/{way}", headers={"If-Match": f'"v{version}"'})


def names(served: Served) -> dict[int, str]:
    return {row["label"]: row["name"] for row in served.client.get(f"/api/v1/cases/{served.case}/objects").json()}


def rings(*labels: int) -> np.ndarray:
    """Rings of 9 x 9 around holes of 3 x 3, one beside the other, and a crumb."""
    slice_HW = np.zeros((40, 48), np.uint8)
    for at, label in enumerate(labels):
        slice_HW[10:19, 2 + 12 * at : 11 + 12 * at] = label
        slice_HW[13:16, 5 + 12 * at : 8 + 12 * at] = 0
        slice_HW[30, 2 + 12 * at] = label
    return slice_HW
