"""An object is carried from a slice where it is right to its neighbours."""

from __future__ import annotations

import numpy as np
from serving import Served, prompt, whole_mask


def test_a_corrected_slice_is_carried_to_its_neighbours_up_to_the_next_that_was_drawn(served: Served) -> None:
    prompt(served, version=0, slice=2)
    own = np.zeros((40, 48), np.uint8)
    own[0, 0] = 1
    served.client.put(f"/api/v1/cases/{served.case}/mask/stored/4", content=own.tobytes(), headers={"If-Match": '"v1"'})
    path = f"/api/v1/cases/{served.case}/jobs"
    body = {"neighbours": {"label": 1, "slice": 2, "reach": 5, "stay": [0]}}
    job = served.client.post(path, json=body, headers={"If-Match": '"v2"'}).json()
    assert "event: done" in served.client.get(f"{path}/{job['id']}/events").text
    mask = whole_mask(served)
    block = np.zeros((40, 48), bool)
    block[10:20, 12:30] = True
    assert [k for k in range(6) if mask[k].any()] == [1, 2, 3, 4]
    assert all(np.array_equal(mask[k] == 1, block) for k in (1, 2, 3)) and np.array_equal(mask[4], own)
    for wrong, words in (({"label": 1, "slice": 3, "reach": 1, "stay": [2]}, "no slice beside"),
                         ({"label": 9, "slice": 2}, "object 9 is not")):  # fmt: skip
        job = served.client.post(path, json={"neighbours": wrong}, headers={"If-Match": '"v3"'}).json()
        served.client.get(f"{path}/{job['id']}/events")
        assert words in served.client.get(f"{path}/{job['id']}").json()["problem"]["got"]
    both = {**body, "prompts": [{"slice": 1, "box": [1, 1, 5, 5]}]}
    assert served.client.post(path, json=both, headers={"If-Match": '"v3"'}).status_code == 422


def test_an_object_is_carried_until_it_ends_and_what_was_behind_stays(served: Served) -> None:
    prompt(served, version=0, slice=3)
    behind = np.zeros((40, 48), np.uint8)
    behind[30:34, 30:34] = 1
    path = f"/api/v1/cases/{served.case}"
    done = {"do": {"step": "release", "label": 1, "plane": "stored", "slice": 0}}
    served.client.put(f"{path}/mask/stored/0", content=behind.tobytes(), headers={"If-Match": '"v1"'})
    served.client.post(f"{path}/steps", json=done, headers={"If-Match": '"v2"'})
    body = {"neighbours": {"label": 1, "slice": 3, "reach": 5}}
    job = served.client.post(f"{path}/jobs", json=body, headers={"If-Match": '"v3"'}).json()
    assert "event: done" in served.client.get(f"{path}/jobs/{job['id']}/events").text
    assert served.client.get(f"{path}/jobs/{job['id']}").json()["reached"] == [1, 4]
    mask = whole_mask(served)
    assert [k for k in range(6) if mask[k].any()] == [0, 1, 2, 3, 4] and np.array_equal(mask[0], behind)
