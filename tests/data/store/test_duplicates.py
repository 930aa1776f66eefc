"""Near-duplicates: found within a number of bits, across splits only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.duplicates import Match, find_near_duplicates
from medsam.data.store.reading import Store
from medsam.data.store.tables import read_table


def test_near_duplicates_in_different_splits_are_listed(making, tmp_path):
    tree = making.skin(30)
    for i in range(30):  # the same pictures again, brighter and smaller, under other names
        again = Picture.fromarray(
            np.clip(making.picture(i, channels=3).astype(int) + 6, 0, 255).astype(np.uint8)
        ).resize((72, 60))
        tree.raster(f"images/again{i:03d}.png", np.asarray(again))
        tree.raster(f"masks/again{i:03d}.png", making.disc(60, 72))
    report = curate([CuratedSource(parse_card(making.card_2d(), "t"), tree.root)], tmp_path / "s")
    rows = read_table(tmp_path / "s" / "duplicates.parquet").to_pylist()
    splits = {row["case"]: row["split"] for row in Store(tmp_path / "s").catalogue.to_pylist()}
    divided = {f"p{i:03d}" for i in range(30) if splits[f"p{i:03d}"] != splits[f"again{i:03d}"]}
    assert divided
    assert report.duplicates == len(rows)
    assert {Path(min(row["file_a"], row["file_b"], key=lambda f: "again" in f)).stem for row in rows} == divided


def test_distance_is_the_number_of_bits_that_differ_and_one_split_is_not_compared():
    hashes = np.zeros((4, 32), np.uint8)
    hashes[1, 0] = 0b111  # 3 bits from the first
    hashes[2, :2] = 255  # 16 bits from the first, 13 from the second
    hashes[3, 31] = 1  # 1 bit from the first, in the same split
    found = find_near_duplicates(hashes, np.array([0, 1, 2, 0]))
    assert found == [Match(0, 1, 3), Match(1, 2, 13), Match(1, 3, 4)]
    assert find_near_duplicates(hashes, np.array([0, 1, 2, 0]), max_distance=3) == [Match(0, 1, 3)]
    assert find_near_duplicates(hashes[:0], np.array([], np.int64)) == []
