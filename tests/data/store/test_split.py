"""Splits by group and nested subsets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from medsam.data.store.duplicates import find_near_duplicates
from medsam.data.store.split import check_fractions, choose_split, order_subset, refuse_divided_groups
from medsam.errors import DataError


def test_groups_fall_into_splits_by_their_fractions_and_always_alike():
    splits = [choose_split(f"set/{n}", seed=0) for n in range(5000)]
    counts = Counter(splits)
    assert counts["train"] == pytest.approx(4000, abs=100)
    assert counts["tune"] == pytest.approx(500, abs=80)
    assert splits == [choose_split(f"set/{n}", seed=0) for n in range(5000)]
    assert splits != [choose_split(f"set/{n}", seed=1) for n in range(5000)]


def test_a_fraction_of_zero_gets_nothing():
    assert {choose_split(str(n), seed=0, fractions=(1, 0, 0)) for n in range(200)} == {"train"}
    assert {choose_split(str(n), seed=0, fractions=(0, 0, 1)) for n in range(200)} == {"val"}


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_fractions_that_do_not_sum_to_one_are_refused(fractions):
    with pytest.raises(DataError, match="sum to 1"):
        check_fractions(fractions)


def test_a_group_in_two_splits_is_refused():
    refuse_divided_groups(["a", "b", "a"], ["train", "val", "train"])
    with pytest.raises(DataError, match="1 groups lie in two splits, the first is a in train and val"):
        refuse_divided_groups(["a", "b", "a"], ["train", "val", "val"])


def test_subsets_nest_and_keep_the_share_of_modalities():
    ids = [f"s{n}" for n in range(1000)]
    kinds = ["CT"] * 800 + ["US"] * 200
    order = order_subset(ids, kinds, seed=3)
    assert sorted(order) == list(range(1000))
    for size in (10, 100, 500):
        share = Counter(kinds[i] for i in order[:size])
        assert share["CT"] == pytest.approx(0.8 * size, abs=1)
    equal = Counter(kinds[i] for i in order_subset(ids, kinds, seed=3, balance="equal")[:100])
    assert equal == {"CT": 50, "US": 50}
    used_up = Counter(kinds[i] for i in order_subset(ids, kinds, seed=3, balance="equal")[:600])
    assert used_up == {"CT": 400, "US": 200}


def test_samples_that_are_added_do_not_reorder_the_others():
    ids, kinds = [f"s{n}" for n in range(50)], ["CT"] * 50
    before = [ids[i] for i in order_subset(ids, kinds, seed=0)]
    after = [i for i in order_subset([*ids, "new"], [*kinds, "CT"], seed=0) if i < 50]
    assert [ids[i] for i in after] == before


def test_near_duplicates_are_the_pairs_an_all_pairs_search_finds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (300, 32), dtype=np.uint8)
    hashes[100:150] = hashes[:50]
    for row in range(100, 150):  # flip row - 100 bits: up to 15 are near
        for bit in rng.choice(256, row - 100, replace=False):
            hashes[row, bit // 8] ^= np.uint8(1 << (bit % 8))
    splits = rng.integers(0, 3, 300)
    found = {(m.first, m.second, m.distance) for m in find_near_duplicates(hashes, splits)}
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2, dtype=int)
    wanted = {
        (a, b, int(distance[a, b]))
        for a in range(300)
        for b in range(a + 1, 300)
        if distance[a, b] <= 15 and splits[a] != splits[b]
    }
    assert found == wanted
    assert wanted
