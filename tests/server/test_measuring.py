"""What is measured within bounds is what measuring the whole mask gives, and what did not change is not measured again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from serving import SHAPE, Served, serve

from medsam.annotation.measure import measure, measure_intensity
from medsam.imaging.image import Mask


def put(served: Served, plane: str, index: int, labels: np.ndarray) -> None:
    answer = served.client.put(
        f"/api/v1/cases/{served.case}/mask/{plane}/{index}", content=labels.astype(np.uint8).tobytes(),
        headers={"If-Match": f'"v{served.head()["version"]}"'},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text


def rows_of(served: Served, *, components: bool = False) -> list[dict[str, object]]:
    query = {"components": components}
    return served.client.get(f"/api/v1/cases/{served.case}/measurements", params=query).json()


@pytest.mark.parametrize("slices", [(2,), (0, 5), (1, 2, 3)])
@pytest.mark.parametrize("components", [False, True])
def test_rows_are_those_of_the_whole_mask(tmp_path: Path, slices: tuple[int, ...], components: bool) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    rng = np.random.default_rng(0)
    for k in slices:
        labels[k, 5:30, 6:40] = rng.integers(0, 3, (25, 34))
    with serve(tmp_path) as served:
        for k in slices:
            put(served, "stored", k, labels[k])
        state = served.app.state.server
        stored = state.scans.open(served.project.case(served.case)).stored
        found = rows_of(served, components=components)
    mask = Mask(labels, stored.grid)
    expected, inside = measure(mask, components=components), measure_intensity(stored, mask)
    assert len(found) == len(expected)
    for row, one in zip(found, expected, strict=True):
        facts = asdict(one)
        for name in ("label", "component", "voxels", "slice", "volume_ml", "long_axis_mm", "short_axis_mm"):
            assert row[name] == pytest.approx(facts[name]), name
        for name in ("long_axis_xy", "short_axis_xy"):
            assert np.allclose(row[name], facts[name]), name
        if not components:
            assert (row["mean"], row["spread"]) == (inside[one.label].mean, inside[one.label].spread)


def test_only_the_object_that_changed_is_measured_again(served: Served) -> None:
    one, two = np.zeros(SHAPE[1:]), np.zeros(SHAPE[1:])
    one[5:9, 5:9], two[20:30, 20:30] = 1, 2
    put(served, "stored", 1, one)
    put(served, "stored", 4, two)
    before = rows_of(served)
    kept = served.app.state.server.scans.open(served.project.case(served.case)).measured
    first = dict(kept)
    two[20, 20] = 0
    put(served, "stored", 4, two)
    after = rows_of(served)
    assert kept[1, False] is first[1, False] and kept[2, False] is not first[2, False]
    assert [row["voxels"] for row in before] == [16, 100] and [row["voxels"] for row in after] == [16, 99]
    served.client.put(f"/api/v1/cases/{served.case}/objects/1", json={"label": 1, "name": "cyst"})
    assert [row["name"] for row in rows_of(served)] == ["cyst", None]
    put(served, "stored", 1, 0 * one)
    put(served, "stored", 4, 0 * two)
    assert rows_of(served) == []
