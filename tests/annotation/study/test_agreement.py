"""Agreement of annotators by hand-made masks, and the consensus of two and three."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.annotation.study.agreement import compare_annotators, make_consensus, tabulate_agreement
from medsam.errors import DataError
from medsam.evaluation.tables import write_csv
from medsam.imaging.image import Grid, Mask

GRID = Grid((1, 10, 10), (5.0, 0.5, 0.5))


def mask(rows: slice, label: int = 1, columns: slice = slice(2, 6)) -> Mask:
    labels = np.zeros(GRID.shape, np.uint16)
    labels[0, rows, columns] = label
    return Mask(labels, GRID, {label: "liver"})


def test_agreement_is_that_of_the_metrics() -> None:
    [one] = compare_annotators({"bob": mask(slice(2, 7)), "ana": mask(slice(2, 5))}, tolerance_mm=0.4)
    assert (one.first, one.second, one.name, one.label) == ("ana", "bob", "liver", 1)
    assert one.dice == pytest.approx(2 * 12 / (12 + 20))
    assert (one.first_voxels, one.second_voxels) == (12, 20)
    assert (one.first_ml, one.second_ml) == (pytest.approx(12 * 1.25 / 1000), pytest.approx(0.025))
    assert one.volume_difference == pytest.approx(8 / 16)
    assert 0 < one.nsd < 1
    text = write_csv(tabulate_agreement([(7, one)])).splitlines()
    assert text[1].startswith("7,liver,ana,bob,0.7500,") and text[1].endswith(",0.015,0.025,50.0")


def test_every_pair_and_every_object_has_a_row() -> None:
    rows = compare_annotators({"a": mask(slice(2, 5)), "b": mask(slice(2, 5), 2), "c": mask(slice(2, 5))})
    assert [(r.label, r.first, r.second) for r in rows] == [
        (1, "a", "b"), (1, "a", "c"), (1, "b", "c"), (2, "a", "b"), (2, "a", "c"), (2, "b", "c"),
    ]  # fmt: skip
    assert [r.dice for r in rows] == [0, 1, 0, 0, 1, 0]
    assert rows[4].volume_difference == 0
    with pytest.raises(DataError, match="1 annotators"):
        compare_annotators({"a": mask(slice(0, 2))})


def test_two_of_three_outvote_the_third() -> None:
    masks = {"a": mask(slice(2, 5)), "b": mask(slice(2, 5)), "c": mask(slice(3, 8))}
    assert np.array_equal(make_consensus(masks), masks["a"].labels)


def test_two_keep_what_both_have() -> None:
    made = make_consensus({"a": mask(slice(2, 5)), "b": mask(slice(3, 6))})
    assert made[0, 3:5, 2:6].all() and made.sum() == 8
    nothing = Mask(np.zeros(GRID.shape, np.uint16), GRID)
    assert not make_consensus({"a": mask(slice(2, 5)), "b": nothing}).any()
    assert not make_consensus({"a": nothing, "b": nothing}).any()


def test_equal_masks_and_filled_images_are_their_own_consensus() -> None:
    whole = mask(slice(0, 10), 3, slice(0, 10))
    assert np.array_equal(make_consensus({"a": whole, "b": whole}), whole.labels)


def test_objects_do_not_overlap_in_a_consensus() -> None:
    masks = {who: mask(slice(2, 6), label) for who, label in (("a", 1), ("b", 1), ("c", 2))}
    assert set(np.unique(make_consensus(masks))) == {0, 1}


def test_random_masks_always_give_labels_that_somebody_drew() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        count = int(rng.integers(2, 5))
        masks = {str(n): Mask(rng.integers(0, 3, GRID.shape).astype(np.uint16), GRID) for n in range(count)}
        made = make_consensus(masks)
        drawn = np.stack([m.labels for m in masks.values()])
        assert ((drawn == made).any(axis=0) | (made == 0)).all()
