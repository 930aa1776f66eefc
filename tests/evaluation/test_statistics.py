"""Statistics against scipy, against tables made by hand, and on a case where ignoring clusters gives a false star."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medsam.errors import DataError
from medsam.evaluation.statistics import (
    PairedTest,
    Quartiles,
    average_clusters,
    bootstrap_median_difference,
    bootstrap_ranks,
    compare_paired,
    correct_holm,
    count_wins,
    rank_methods,
    summarize_values,
)


def test_quartiles_by_hand():
    assert summarize_values([1, 2, 3, 4, 5]) == Quartiles(5, 2, 3, 4)
    assert summarize_values([0.5]) == Quartiles(1, 0.5, 0.5, 0.5)


def test_a_paired_test_equals_scipys_where_every_case_is_a_cluster():
    rng = np.random.default_rng(0)
    for size in (6, 12, 60):
        first = rng.normal(0.8, 0.1, size)
        second = first + rng.normal(0.02, 0.05, size)
        found = compare_paired(first, second, np.arange(size))
        assert found.p_value == pytest.approx(stats.wilcoxon(second - first).pvalue, rel=1e-9)
        assert found.clusters == size


def test_a_paired_test_by_hand():
    # differences 1, 2, 3, 4, -5: ranks for 1 + 2 + 3 + 4 = 10, against 5; of the 32 signs 20 give at most 5 or at least 10
    found = compare_paired([0, 0, 0, 0, 5], [1, 2, 3, 4, 0], list("abcde"))
    assert found.p_value == pytest.approx(20 / 32)
    assert found.effect == pytest.approx((10 - 5) / 15)
    # all five in favour: two of 32
    assert compare_paired([0] * 5, [1, 2, 3, 4, 5], list("abcde")) == PairedTest(5, pytest.approx(2 / 32), 1)


def test_effect_sizes_with_ties_by_hand():
    # differences 1, -1, 2, 0: ranks 1.5, 1.5, 3, and the one that does not differ is left out
    assert compare_paired([0, 1, 0, 3], [1, 0, 2, 3], range(4)).effect == pytest.approx((1.5 + 3 - 1.5) / 6)
    assert compare_paired([2, 2], [1, 1], range(2)).effect == -1
    assert compare_paired([2, 2], [2, 2], range(2)).effect == 0


def test_cases_that_all_tie_are_no_difference():
    assert compare_paired([0.5, 0.6, 0.7], [0.5, 0.6, 0.7], [1, 2, 3]) == PairedTest(3, 1.0, 0.0)
    # the mean of a cluster is no difference either where its slices cancel out
    assert compare_paired([0.1, 0.2, 0.3], [0.2, 0.3, 0.1], ["v", "v", "v"]) == PairedTest(1, 1.0, 0.0)


def test_slices_of_one_volume_give_no_star_of_their_own():
    """Five volumes of 60 slices; a method is better on three and worse on two by an amount of the whole volume."""
    rng = np.random.default_rng(1)
    of_volume = np.repeat([0.05, 0.04, 0.03, -0.02, -0.01], 60)
    volumes = np.repeat(np.arange(5), 60)
    first = rng.uniform(0.6, 0.9, 300)
    second = first + of_volume + rng.normal(0, 0.005, 300)
    ignored = compare_paired(first, second, np.arange(300))
    assert ignored.p_value < 1e-10  # the false star
    clustered = compare_paired(first, second, volumes)
    assert clustered.clusters == 5
    assert clustered.p_value > 0.05
    narrow = bootstrap_median_difference(first, second, np.arange(300), seed=0, rounds=300)
    wide = bootstrap_median_difference(first, second, volumes, seed=0, rounds=300)
    assert narrow.low > 0
    assert wide.low < 0 < wide.high
    assert narrow.estimate == wide.estimate


def test_clusters_are_averaged_in_the_order_in_which_they_come():
    assert average_clusters([1, 2, 3, 10], ["b", "a", "b", "a"]).tolist() == [2, 6]


def test_holm_by_hand():
    assert correct_holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm([0.6, 0.7]).tolist() == [1, 1]
    assert correct_holm([0.04]).tolist() == [0.04]
    with pytest.raises(DataError, match=r"a p-value of 1\.5"):
        correct_holm([0.1, 1.5])


def test_intervals_depend_on_the_seed_alone_and_hold_what_is_certain():
    rng = np.random.default_rng(2)
    first, clusters = rng.random(50), np.arange(50) // 5
    second = first + rng.normal(0.1, 0.05, 50)
    one, again = (bootstrap_median_difference(first, second, clusters, seed=7, rounds=200) for _ in range(2))
    assert one == again
    assert one.low < one.estimate < one.high
    assert one != bootstrap_median_difference(first, second, clusters, seed=8, rounds=200)
    same = bootstrap_median_difference([0.25, 0.5], [0.5, 0.75], ["a", "b"], seed=0, rounds=50)
    assert (same.low, same.estimate, same.high) == (0.25, 0.25, 0.25)


def test_ranks_and_wins_with_ties_by_hand():
    table = [[0.9, 0.8, 0.7], [0.9, 0.9, 0.7], [0.5, 0.5, 0.5], [0.1, 0.2, 0.2]]
    assert rank_methods(table).tolist() == [[1, 2, 3], [1.5, 1.5, 3], [2, 2, 2], [3, 1.5, 1.5]]
    assert count_wins(table).tolist() == pytest.approx([1 + 1 / 2 + 1 / 3, 1 / 2 + 1 / 3 + 1 / 2, 1 / 3 + 1 / 2])


def test_ranks_are_stable_where_a_method_is_always_better_and_not_where_it_hangs_on_one_patient():
    always = {"best": [0.9, 0.8, 0.9], "middle": [0.8, 0.7, 0.8], "worst": [0.1, 0.1, 0.2]}
    names, ranks = bootstrap_ranks([always, always], [["a", "b", "c"]] * 2, seed=0, rounds=50)
    assert names == ["best", "middle", "worst"]
    assert ranks.tolist() == [[1, 2, 3]] * 50
    hangs = {"one": [0.9, 0.9, 0.9, 0.1, 0.1], "two": [0.5] * 5}
    _, ranks = bootstrap_ranks([hangs], [["p", "p", "p", "q", "r"]], seed=0, rounds=200)
    assert 0.2 < (ranks[:, 0] == 1).mean() < 0.8
    _, again = bootstrap_ranks([hangs], [["p", "p", "p", "q", "r"]], seed=0, rounds=200)
    assert np.array_equal(ranks, again)


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(DataError, match="3 and 2 scores"):
        compare_paired([1, 2, 3], [1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="2 clusters for 3 cases"):
        compare_paired([1, 2, 3], [1, 2, 4], [1, 2])
    for bad in ([], [float("nan")], [float("inf")], [[1.0]]):
        with pytest.raises(DataError, match="finite"):
            summarize_values(bad)
    with pytest.raises(DataError, match="tasks x methods"):
        rank_methods([0.5, 0.6])
    with pytest.raises(DataError, match="other methods"):
        bootstrap_ranks([{"a": [1]}, {"b": [1]}], [["p"], ["p"]], seed=0)
    with pytest.raises(DataError, match="no task"):
        bootstrap_ranks([], [], seed=0)
