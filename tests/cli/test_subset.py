"""The command `medsam subset`: lists of pairs, and sizes that a store does not have."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from command import medsam, refused


def test_lists_hold_as_many_pairs_as_were_asked_for_and_nest(card: Path, tmp_path: Path) -> None:
    store = tmp_path / "s"
    assert medsam("curate --engine local -o", store, card).code == 0
    ended = medsam("subset --size 1 --size 2 --json -o", tmp_path / "lists", store)
    assert [row["pairs"] for row in ended.json] == [{"dermoscopy": 1}, {"dermoscopy": 2}]  # type: ignore[attr-defined]
    one, two = (set(pq.read_table(row["list"])["sample_id"].to_pylist()) for row in ended.json)  # type: ignore[attr-defined]
    assert (len(one), len(two)) == (1, 2)
    assert one < two
    assert refused(medsam("subset --size 100", store), "a subset of 100 pairs")
    assert refused(medsam("subset --size 2 -o", tmp_path / "lists", store), "2.parquet exists")
    assert medsam("subset --size 2 --overwrite -o", tmp_path / "lists", store).code == 0
