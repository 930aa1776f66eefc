"""Before and after on the same targets, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medsam.evaluation.measure import Score
from medsam.training.finetune.comparison import compare_scores

ONE = Score("cases", "MR", "p1[3]", "", 0, 1, 100, "base", 0.5, 0.25, 0.1)


def test_medians_means_and_cases_by_hand() -> None:
    before = [ONE, replace(ONE, sample="p1[4]", dice=0.7), replace(ONE, sample="p2", dice=0.9, nsd=1.0)]
    after = [replace(ONE, dice=0.6), before[1], replace(before[2], dice=0.8)]
    found = compare_scores(before, after)
    assert (found.targets, found.better, found.worse) == (3, 1, 1)
    rows = {name: pytest.approx((old, new)) for name, old, new in found.rows}
    assert rows["median dice"] == (0.7, 0.7)
    assert rows["mean dice"] == (0.7, 0.7)
    assert rows["median nsd"] == (0.25, 0.25)
    assert rows["mean nsd"] == (0.5, 0.5)
    assert found.cases == (("p1", pytest.approx(0.6), pytest.approx(0.65)), ("p2", 0.9, 0.8))


def test_other_targets_after_than_before_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_scores([ONE, ONE], [ONE])
