"""Scores by slice: kept with the state, replaced by what is newer, dropped where somebody draws."""

from __future__ import annotations

import numpy as np
from serving import Served, prompt

from medsam.server.scores import SliceScore, drop_scores, replace_scores


def test_a_newer_score_takes_an_older_ones_place_and_a_whole_object_clears_all() -> None:
    before = [SliceScore(1, 0, 4, 0.5), SliceScore(1, 1, 4, 0.6), SliceScore(2, 0, 4, 0.7)]
    after = replace_scores(before, {1: {4: 0.9, 5: 0.8}}, 0)
    assert after == [*before[1:], SliceScore(1, 0, 4, 0.9), SliceScore(1, 0, 5, 0.8)]
    assert replace_scores(before, {1: {7: 0.1}}, 0, whole={1}) == [before[2], SliceScore(1, 0, 7, 0.1)]
    assert drop_scores(before, [1], 0, 4) == before[1:]


def test_scores_come_back_in_order_and_follow_undo_edit_and_job(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}"

    def scores() -> list[tuple[int, int, int]]:
        rows = served.client.get(f"{path}/scores").json()
        assert [row["score"] for row in rows] == sorted(row["score"] for row in rows)
        return sorted((row["label"], row["axis"], row["slice"]) for row in rows)

    assert scores() == []
    answer = prompt(served, version=0).json()
    [row] = served.client.get(f"{path}/scores").json()
    assert row == {"label": 1, "axis": 0, "slice": 2, "score": round(answer["score"], 4)}
    prompt(served, version=1, plane="coronal", slice=15, box=[10, 0, 32, 5], label=2)
    assert scores() == [(1, 0, 2), (2, 1, 15)]
    job = served.client.post(f"{path}/jobs", headers={"If-Match": '"v2"'},
                             json={"prompts": [{"box_3d": [10, 8, 1, 32, 22, 4], "label": 1}]}).json()  # fmt: skip
    served.client.get(f"{path}/jobs/{job['id']}/events")
    assert scores() == [(1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 0, 4), (2, 1, 15)]
    drawn = np.zeros((40, 48), np.uint8)
    served.client.put(f"{path}/mask/stored/3", content=drawn.tobytes(), headers={"If-Match": '"v3"'})
    assert (1, 0, 3) not in scores() and (1, 0, 2) in scores()
    served.client.post(f"{path}/undo", headers={"If-Match": '"v4"'})
    assert (1, 0, 3) in scores()
