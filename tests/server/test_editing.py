"""Steps: each gives the library's answer, is one step of undo, and takes descriptions with it."""

from __future__ import annotations

import numpy as np
import pytest
from serving import OTHER, Served, bearer, prompt, whole_mask
from stepping import draw, move, rings, step

from medsam.annotation.interpolation import interpolate_masks
from medsam.evaluation.metrics import dice, normalized_surface_distance
from medsam.imaging.reshaping import reshape_object

SPACING = (3.0, 0.5, 0.5)


@pytest.mark.parametrize("how", ["fill", "largest", "smooth", "grow", "shrink"])
def test_a_shape_is_the_librarys_on_a_slice_and_through_the_whole_object(served: Served, how: str) -> None:
    drawn = rings(1, 2)
    draw(served, 0, drawn, 2)
    draw(served, 1, drawn, 3)
    before = whole_mask(served)
    answer = step(served, 2, step="reshape", label=1, how=how, by=0.6, slice=2).json()
    expected = before.copy()
    expected[2:3] = reshape_object(before[2:3], 1, how, by_mm=0.6, spacing_mm=SPACING)  # type: ignore[arg-type]
    assert np.array_equal(whole_mask(served), expected)
    assert answer["changed"] == np.count_nonzero(expected != before) > 0
    assert move(served, 3, "undo").status_code == 200 and np.array_equal(whole_mask(served), before)
    step(served, 4, step="reshape", label=1, how=how, by=0.6)
    whole = reshape_object(before, 1, how, by_mm=0.6, spacing_mm=SPACING)  # type: ignore[arg-type]
    assert np.array_equal(whole_mask(served), whole)
    assert np.array_equal(whole == 2, before == 2)


def test_a_step_that_changes_nothing_is_not_saved_and_one_that_cannot_be_is_told(served: Served) -> None:
    draw(served, 0, rings(1), 2)
    step(served, 1, step="reshape", label=1, how="fill", slice=2)
    again = step(served, 2, step="reshape", label=1, how="fill", slice=2).json()
    assert (again["changed"], again["head"]["version"]) == (0, 2)
    assert step(served, 2, step="reshape", label=1, how="shrink", by=50).status_code == 422
    assert step(served, 2, step="reshape", label=1, how="fill", slice=99).status_code == 404
    assert step(served, 2, step="twist", label=1).status_code == 422
    assert step(served, 1, step="delete", label=1).status_code == 409
    assert served.client.post(f"/api/v1/cases/{served.case}/steps", json={}).status_code == 428


def test_a_coronal_slice_is_drawn_reshaped_and_kept_from_the_model(served: Served) -> None:
    drawn = np.zeros((6, 48), np.uint8)
    drawn[1:5, 12:30] = 1
    drawn[2, 20] = 0
    assert draw(served, 0, drawn, 15, "coronal").json()["drawn"] == {"1": {"1": [15]}}
    assert np.array_equal(whole_mask(served)[:, 15], drawn) and whole_mask(served).sum() == drawn.sum()
    step(served, 1, step="reshape", label=1, how="fill", plane="coronal", slice=15)
    filled = drawn.copy()
    filled[2, 20] = 1
    assert np.array_equal(whole_mask(served)[:, 15], filled)
    prompt(served, version=2)  # an axial box that crosses the row: the row stays, the rest of the slice comes
    assert np.array_equal(whole_mask(served)[:, 15], filled) and whole_mask(served)[2, 14, 12:30].all()
    released = step(served, 3, step="release", label=1, plane="coronal", slice=15).json()
    assert released["head"]["drawn"] == {"1": {}} or released["head"]["drawn"] == {}
    assert draw(served, 4, np.zeros((5, 5)), 15, "coronal").status_code == 422
    assert draw(served, 4, drawn, 99, "coronal").status_code == 404


def test_slices_between_two_are_interpolated_and_those_drawn_by_hand_stay(served: Served) -> None:
    first, last, own = (np.zeros((40, 48), np.uint8) for _ in range(3))
    first[5:15, 5:15] = last[5:25, 20:40] = own[0, 0] = 1
    for version, (index, drawn) in enumerate([(0, first), (5, last), (3, own)]):
        draw(served, version, drawn, index)
    answer = step(served, 3, step="interpolate", label=1, first=0, last=5)
    assert answer.status_code == 200
    made = interpolate_masks(first > 0, last > 0, 4, SPACING[1:])
    expected = [first > 0, made[0], made[1], own > 0, made[3], last > 0]
    assert np.array_equal(whole_mask(served) > 0, expected)
    assert answer.json()["head"]["locked"] == {"1": [0, 3, 5]}
    assert step(served, 4, step="interpolate", label=1, first=0, last=1).status_code == 422
    assert step(served, 4, step="interpolate", label=2, first=0, last=5).status_code == 422


def test_a_locked_object_stays_whatever_is_asked(served: Served) -> None:
    draw(served, 0, rings(1, 2), 2)
    two = whole_mask(served) == 2
    prompt(served, version=1, label=1, box=[0, 0, 48, 40], kept=[2])
    assert np.array_equal(whole_mask(served) == 2, two)
    step(served, 2, kept=(2,), step="delete", label=1)
    assert np.array_equal(whole_mask(served) == 2, two) and not (whole_mask(served) == 1).any()
    assert step(served, 3, kept=(2,), step="delete", label=2).status_code == 422
    assert step(served, 3, kept=(2,), step="merge", label=1, into=2).status_code == 422


def test_an_object_locked_in_the_case_stays_though_a_request_does_not_say_so(served: Served) -> None:
    draw(served, 0, rings(1, 2), 2)
    two = whole_mask(served) == 2
    path = f"/api/v1/cases/{served.case}"
    served.client.put(f"{path}/objects/2", json={"label": 2, "name": "cyst"})
    assert served.client.patch(f"{path}/objects/2", json={"locked": True}, headers=bearer(OTHER)).status_code == 204
    assert step(served, 1, step="delete", label=2).status_code == 422
    asked = {"slice": 2, "label": 2, "box": [0, 0, 48, 40], "save": True}
    refused = served.client.post(f"{path}/prompts", json=asked, headers={"If-Match": '"v1"'})
    assert refused.status_code == 422 and "object 2 is locked" in refused.json()["detail"]
    drawn = served.client.put(
        f"{path}/mask/stored/2", content=np.zeros((40, 48), np.uint8).tobytes(), headers={"If-Match": '"v1"'}
    )
    assert drawn.status_code == 422 and "locked" in drawn.json()["detail"]
    prompt(served, version=1, label=1, box=[0, 0, 48, 40])
    assert np.array_equal(whole_mask(served) == 2, two)


def test_anothers_version_is_compared_and_taken_over_and_ones_own_is_not_lost(served: Served) -> None:
    draw(served, 0, rings(1, 2), 2)
    mine = whole_mask(served)
    prompt(served, version=0, token=OTHER)
    theirs = served.head(OTHER)["revision"]
    path = f"/api/v1/cases/{served.case}"
    prompted = np.zeros_like(mine)
    prompted[2, 10:20, 12:30] = 1
    rows = served.client.get(f"{path}/comparison", params={"revision": theirs}).json()
    assert [row["label"] for row in rows] == [1, 2]
    assert rows[0]["dice"] == pytest.approx(dice(mine, prompted, label=1))
    nsd = normalized_surface_distance(mine, prompted, label=1, spacing_mm=SPACING)
    assert (rows[0]["nsd"], rows[0]["unit"], rows[0]["tolerance"]) == (pytest.approx(nsd), "mm", 2.0)
    assert rows[0]["voxels"] == [int((mine == 1).sum()), 180] and rows[1]["both"] == 0
    step(served, 1, step="take", revision=theirs, label=1)
    assert np.array_equal(whole_mask(served) == 1, prompted == 1)
    assert np.array_equal(whole_mask(served) == 2, (mine == 2) & (prompted != 1))
    move(served, 2, "undo")
    step(served, 3, step="take", revision=theirs)
    assert np.array_equal(whole_mask(served), prompted)
    move(served, 4, "undo")
    assert np.array_equal(whole_mask(served), mine)
    assert step(served, 5, step="take", revision=999).status_code == 404
    assert step(served, 5, step="take", revision=10**30).status_code == 422  # more than a database counts
    for path in ("comparison", "mask", "mask/stored/1"):
        assert served.client.get(f"/api/v1/cases/{served.case}/{path}?revision={10**30}").status_code == 422
    assert served.client.get(f"{path}/comparison", params={"revision": 999}).status_code == 404


def test_coded_terms_are_searched(served: Served) -> None:
    assert served.client.get("/api/v1/codes", params={"words": "liver"}).json()[0] == ["SCT", "10200004", "Liver"]
