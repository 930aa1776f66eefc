"""What shards add up to: splits, counts, and data sets held out."""

from __future__ import annotations

import pytest

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store
from medsam.data.store.records import Counts
from medsam.data.store.shards import ShardSummary
from medsam.errors import DataError


def test_external_sets_are_held_out_and_shared_patients_are_refused(making, tmp_path):
    a, b = making.skin(3, "a"), making.skin(3, "b")
    space = '\ngroup_space = "clinic"\n[masks]'
    first = parse_card(making.card_2d("a"), "t")
    external = CuratedSource(parse_card(making.card_2d("b"), "t"), b.root, external=True)
    curate([CuratedSource(first, a.root), external], tmp_path / "s")
    splits = {row["dataset"]: row["split"] for row in Store(tmp_path / "s").catalogue.to_pylist()}
    assert splits["b"] == "external"
    assert splits["a"] != "external"
    shared = [parse_card(making.card_2d(name).replace("\n[masks]", space), "t") for name in "ab"]
    with pytest.raises(DataError, match="groups lie in two splits"):
        curate([CuratedSource(shared[0], a.root), CuratedSource(shared[1], b.root, external=True)], tmp_path / "t")


def test_target_is_lost_only_where_masks_hold_something_else():
    assert Counts(unseen={"a": [3]}, unknown_ids=[1, 2]).lost == "no mask holds a = 3; masks hold the ids 1, 2"
    assert Counts(unseen={"a": []}).lost == "no mask holds a = any; its masks are empty or cannot be read"
    assert Counts(unseen={"a": [3]}, summary=ShardSummary(pairs_read=5)).lost == ""
    assert Counts(unknown_ids=[4], summary=ShardSummary(pairs_read=5)).lost == ""
