"""What was drawn for the model comes back after a reload, as the state that one stands at was made."""

from __future__ import annotations

import numpy as np
from serving import Served, prompt


def test_the_last_prompt_of_each_slice_is_known_and_follows_undo_edits_and_deleting(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}"

    def drawn() -> dict[tuple[int, int, int], dict[str, object]]:
        return {(one["label"], one["axis"], one["slice"]): one for one in served.client.get(f"{path}/prompts").json()}

    assert drawn() == {}
    ends = [[12, 15], [30, 15], [20, 10], [20, 20]]
    prompt(served, version=0, slice=2, axes=ends)
    prompt(served, version=1, slice=3, label=2)
    prompt(served, version=2, plane="coronal", slice=15, box=[10, 0, 32, 5], label=2)
    assert drawn().keys() == {(1, 0, 2), (2, 0, 3), (2, 1, 15)}
    assert drawn()[1, 0, 2]["axes"] == ends and drawn()[2, 1, 15]["box"] == [10, 0, 32, 5]
    served.client.post(f"{path}/undo", headers={"If-Match": '"v3"'})
    assert drawn().keys() == {(1, 0, 2), (2, 0, 3)}
    empty = np.zeros((40, 48), np.uint8)
    served.client.put(f"{path}/mask/stored/2", content=empty.tobytes(), headers={"If-Match": '"v4"'})
    assert drawn().keys() == {(2, 0, 3)}  # the object is not on that slice any more
    step = {"do": {"step": "delete", "label": 2}}
    assert served.client.post(f"{path}/steps", json=step, headers={"If-Match": '"v5"'}).status_code == 200
    assert drawn() == {}
