"""Descriptions of objects go and come with the steps that change them."""

from __future__ import annotations

import numpy as np
from serving import OTHER, Served, prompt, whole_mask
from stepping import draw, move, names, rings, step


def test_merging_and_deleting_take_the_description_and_undo_brings_it_back(served: Served) -> None:
    path = f"/api/v1/cases/{served.case}/objects"
    for label, name in ((1, "cyst"), (2, "tumour")):
        served.client.put(f"{path}/{label}", json={"label": label, "name": name, "color": [1, 2, label]})
    draw(served, 0, rings(1, 2), 2)
    step(served, 1, step="merge", label=2, into=1)
    assert set(np.unique(whole_mask(served))) == {0, 1} and names(served) == {1: "cyst"}
    move(served, 2, "undo")
    assert np.array_equal(whole_mask(served)[2], rings(1, 2)) and names(served) == {1: "cyst", 2: "tumour"}
    move(served, 3, "redo")
    assert names(served) == {1: "cyst"}
    step(served, 4, step="describe", object={"label": 1, "name": "lesion", "code": ["SCT", "52988006", "Lesion"]})
    assert names(served) == {1: "lesion"}
    step(served, 5, step="delete", label=1)
    assert not whole_mask(served).any() and names(served) == {}
    move(served, 6, "undo")
    [row] = served.client.get(path).json()
    assert row["code"] == ["SCT", "52988006", "Lesion"] and whole_mask(served).any()
    move(served, 7, "undo")
    assert served.client.get(path).json()[0] == {
        "label": 1,
        "name": "cyst",
        "color": [1, 2, 1],
        "code": None,
        "locked": False,
    }


def test_an_object_that_another_annotator_drew_keeps_its_name(served: Served) -> None:
    served.client.put(f"/api/v1/cases/{served.case}/objects/1", json={"label": 1, "name": "cyst"})
    prompt(served, version=0)
    prompt(served, version=0, token=OTHER)
    step(served, 1, step="delete", label=1)
    assert names(served) == {1: "cyst"}
