"""Statistics of scores: medians, paired tests with clusters, effect sizes, bootstrap intervals, ranks of methods.

Slices of one volume, and volumes of one patient, are not independent. Whoever tests slices as if they were finds stars
that are not there; every test here takes the clusters and works on one value a cluster.

Shapes: N cases, G clusters, T tasks, K methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from medsam.errors import DataError

ROUNDS = 2000  # of a bootstrap


@dataclass(frozen=True)
class Quartiles:
    """Median and interquartile range of some scores.

    Args:
        count: How many.
        low: First quartile.
        median: Second.
        high: Third.
    """

    count: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """Two methods compared on the same cases by the Wilcoxon signed-rank test.

    Args:
        clusters: Patients or volumes that the test counts.
        p_value: Two-sided; 1 where no cluster differs.
        effect: Matched-pairs rank-biserial correlation, -1 to 1: above 0 where the second method is better.
    """

    clusters: int
    p_value: float
    effect: float


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap interval.

    Args:
        estimate: Of all cases.
        low: Lower end.
        high: Upper end.
    """

    estimate: float
    low: float
    high: float


def summarize_values(values_N: ArrayLike) -> Quartiles:
    """Give the median and the quartiles (linear interpolation, as NumPy's default).

    Raises:
        DataError: no values, or one that is not finite.
    """
    values = _check_values(values_N, "scores")
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Quartiles(len(values), low, median, high)


def average_clusters(values_N: ArrayLike, clusters_N: Sequence[object] | NDArray[np.generic]) -> NDArray[np.float64]:
    """Give the mean of each cluster, (G,), in the order in which the clusters come first.

    Args:
        values_N: One value a case.
        clusters_N: Patient or volume of each case.

    Raises:
        DataError: no values, one that is not finite, or another number of clusters than of values.
    """
    values = _check_values(values_N, "scores")
    numbers, count = _number_clusters(clusters_N, len(values))
    means: NDArray[np.float64] = np.bincount(numbers, values, count) / np.bincount(numbers, minlength=count)
    return means


def compare_paired(
    first_N: ArrayLike, second_N: ArrayLike, clusters_N: Sequence[object] | NDArray[np.generic]
) -> PairedTest:
    """Test whether a second method scores otherwise than a first one on the same cases.

    The differences of a cluster are averaged first, so that a volume of 100 slices counts once. Clusters without any
    difference are left out, as Wilcoxon does. Ties among the others get average ranks.

    Args:
        first_N: Scores of the first method.
        second_N: Scores of the second method on the same cases.
        clusters_N: Patient or volume of each case; all different where cases are independent.

    Raises:
        DataError: no scores, one that is not finite, or lengths that differ.

    Source: Wilcoxon 1945 (scipy.stats.wilcoxon); Kerby 2014 for the effect size.
    """
    differences_G = average_clusters(_subtract(first_N, second_N), clusters_N)
    # Averages of the same numbers in another order differ in the last digit; such differences are none.
    differences_G = np.where(np.abs(differences_G) < 1e-12, 0.0, np.round(differences_G, 12))
    differing = differences_G[differences_G != 0]
    if not len(differing):
        return PairedTest(len(differences_G), 1.0, 0.0)
    p_value = float(stats.wilcoxon(differing).pvalue)
    return PairedTest(len(differences_G), p_value, _rank_biserial(differing))


def _rank_biserial(differing: NDArray[np.float64]) -> float:
    """The share of ranks for the second method less those against: 1 where all are for it, -1 where all are against."""
    ranks = stats.rankdata(np.abs(differing))
    return float((ranks * np.sign(differing)).sum() / ranks.sum())


def correct_holm(p_values_N: ArrayLike) -> NDArray[np.float64]:
    """Correct p-values for their number by Holm's step-down method.

    Args:
        p_values_N: Of the tests of one family.

    Returns:
        (N,) adjusted p-values in the same order, at most 1; each below a level is significant at it.

    Raises:
        DataError: none, or one that is not between 0 and 1.

    Source: Holm 1979.
    """
    values = _check_values(p_values_N, "p-values")
    if values.min() < 0 or values.max() > 1:
        raise DataError(
            f"a p-value of {values.max() if values.max() > 1 else values.min()}", expected="0 to 1", fix="test again"
        )
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, steps)
    return adjusted


def bootstrap_median_difference(
    first_N: ArrayLike,
    second_N: ArrayLike,
    clusters_N: Sequence[object] | NDArray[np.generic],
    *,
    seed: int,
    rounds: int = ROUNDS,
) -> Interval:
    """Estimate the median of the differences second - first, with a 95 % percentile interval over resampled clusters.

    A round draws as many clusters as there are, with replacement, and takes all cases of each.

    Args:
        first_N: Scores of the first method.
        second_N: Scores of the second method on the same cases.
        clusters_N: Patient or volume of each case.
        seed: Of the draws; the same seed gives the same interval.
        rounds: Of the bootstrap.

    Raises:
        DataError: no scores, one that is not finite, or lengths that differ.
    """
    differences = _subtract(first_N, second_N)
    numbers, count = _number_clusters(clusters_N, len(differences))
    order = np.argsort(numbers, kind="stable")
    members = np.split(differences[order], np.cumsum(np.bincount(numbers, minlength=count))[:-1])
    rng = np.random.default_rng(seed)
    medians = [
        float(np.median(np.concatenate([members[g] for g in rng.integers(count, size=count)]))) for _ in range(rounds)
    ]
    low, high = np.quantile(medians, (0.025, 0.975)).tolist()
    return Interval(float(np.median(differences)), low, high)


def rank_methods(scores_TK: ArrayLike) -> NDArray[np.float64]:
    """Rank methods in every task, 1 for the highest score; methods that tie share the average of their ranks.

    Args:
        scores_TK: (T, K) one score, as a median, of each method in each task.

    Returns:
        (T, K) ranks.

    Raises:
        DataError: no scores, a NaN, or not two axes.
    """
    scores = _check_table(scores_TK)
    ranks: NDArray[np.float64] = stats.rankdata(-scores, axis=1)
    return ranks


def count_wins(scores_TK: ArrayLike) -> NDArray[np.float64]:
    """Count in how many tasks each method is the best, (K,); a task that M methods tie for gives each of them 1 / M.

    Args:
        scores_TK: (T, K) one score of each method in each task.

    Raises:
        DataError: no scores, a NaN, or not two axes.
    """
    scores = _check_table(scores_TK)
    best = scores == scores.max(axis=1, keepdims=True)
    wins: NDArray[np.float64] = (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
    return wins


def bootstrap_ranks(
    scores: Sequence[Mapping[str, ArrayLike]],
    clusters: Sequence[Sequence[object] | NDArray[np.generic]],
    *,
    seed: int,
    rounds: int = ROUNDS,
) -> tuple[list[str], NDArray[np.float64]]:
    """Say how stable the mean ranks of methods are when the cases of every task are drawn again by cluster.

    Args:
        scores: Of each task, the scores of every method on the same cases.
        clusters: Of each task, the patient or volume of each case.
        seed: Of the draws.
        rounds: Of the bootstrap.

    Returns:
        Names of the methods in alphabetical order, and (rounds, K) their mean ranks over the tasks by median score.

    Raises:
        DataError: no task, tasks with other methods, no scores, one that is not finite, or lengths that differ.
    """
    if not scores:
        raise DataError("no task", expected="one or more", fix="evaluate first")
    names = sorted(scores[0])
    if any(sorted(task) != names for task in scores):
        raise DataError("tasks with other methods", expected="the same methods in all", fix="evaluate all of them")
    rng = np.random.default_rng(seed)
    medians_RTK = np.empty((rounds, len(scores), len(names)))
    for t, (task, groups) in enumerate(zip(scores, clusters, strict=True)):
        table_NK = np.stack([_check_values(task[name], "scores") for name in names], axis=1)
        numbers, count = _number_clusters(groups, len(table_NK))
        members = [np.flatnonzero(numbers == g) for g in range(count)]
        for r in range(rounds):
            drawn = np.concatenate([members[g] for g in rng.integers(count, size=count)])
            medians_RTK[r, t] = np.median(table_NK[drawn], axis=0)
    ranks_RK: NDArray[np.float64] = stats.rankdata(-medians_RTK, axis=2).mean(axis=1)
    return names, ranks_RK


def _subtract(first_N: ArrayLike, second_N: ArrayLike) -> NDArray[np.float64]:
    first, second = _check_values(first_N, "scores"), _check_values(second_N, "scores")
    if len(first) != len(second):
        raise DataError(
            f"{len(first)} and {len(second)} scores", expected="scores of the same cases", fix="pair them first"
        )
    return second - first


def _number_clusters(clusters_N: Sequence[object] | NDArray[np.generic], cases: int) -> tuple[NDArray[np.int64], int]:
    """The number of each case's cluster, and how many there are, in the order in which they come first."""
    numbers: dict[object, int] = {}
    found = [numbers.setdefault(cluster, len(numbers)) for cluster in np.asarray(clusters_N).tolist()]
    if len(found) != cases:
        raise DataError(
            f"{len(found)} clusters for {cases} cases", expected="the cluster of each case", fix="pass them all"
        )
    return np.array(found, dtype=np.int64), len(numbers)


def _check_values(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    finite = bool(np.isfinite(array).all())
    if array.ndim != 1 or not len(array) or not finite:
        raise DataError(
            f"{what} of shape {array.shape}{'' if finite else ' with NaN or infinity'}",
            expected=f"one or more finite {what}",
            fix="leave out cases that have none and count them, or give them a stated worst value",
        )
    return array


def _check_table(scores_TK: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(scores_TK, dtype=np.float64)
    if table.ndim != 2 or not table.size or np.isnan(table).any():
        raise DataError(
            f"scores of shape {table.shape}{' with NaN' if np.isnan(table).any() else ''}",
            expected="tasks x methods, none NaN",
            fix="rank the tasks that all methods have",
        )
    return table
