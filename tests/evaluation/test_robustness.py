"""Falls, clicks and review on rows made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medsam.evaluation.measure import Score
from medsam.evaluation.robustness import (
    count_clicks,
    rank_for_review,
    tabulate_robustness,
    tabulate_triage,
    trace_prompts,
)


def score(sample="a", *, dice, prompt="box", quality=math.nan, target=0, method="ours", fault=""):
    return Score(
        dataset="us", modality="ultrasound", sample=sample, group="", target=target, targets=1, pixels=9, method=method,
        dice=dice, nsd=dice, seconds=0.1, quality=quality, prompt=prompt, fault=fault, agreement=0.75,
    )  # fmt: skip


def test_the_fall_is_interpolated_from_the_tight_box():
    rows = [
        score(dice=value, prompt=prompt)
        for prompt, value in (("margin-20", 0.2), ("margin+0", 0.9), ("margin+20", 0.88), ("margin+40", 0.8), ("shift30", 0.88))
    ]  # fmt: skip
    margin, shift = trace_prompts(rows)
    assert (margin.kind, margin.px, margin.dice) == ("margin", (-20, 0, 20, 40), (0.2, 0.9, 0.88, 0.8))
    assert margin.margin_of_fall() == pytest.approx(20 + 20 * 0.03 / 0.08)
    assert (shift.px, shift.margin_of_fall()) == ((0, 30), math.inf)
    rows = tabulate_robustness([margin, shift]).rows
    assert [row[5:] for row in rows] == [("28", "40", "25.0"), ("over 30", "30", "25.0")]


def test_clicks_are_counted_to_90_percent_and_refusals_left_out():
    rows = [
        *(score(dice=d, prompt=f"clicks{n}") for n, d in ((1, 0.5), (2, 0.95), (3, 0.85))),
        *(score("b", dice=d, prompt=f"clicks{n}") for n, d in ((1, 0.5), (2, 0.6), (3, 0.7))),
        score(dice=0.0, prompt="clicks1", method="net", fault="a prompt that is no box"),
        score(dice=0.99),
    ]
    assert {method: counts.tolist() for method, counts in count_clicks(rows).items()} == {"ours": [2, math.inf]}


def test_review_starts_with_the_least_certain_and_a_failed_case():
    rows = [
        score("a", dice=0.9, quality=0.9), score("a", dice=0.2, quality=0.3, target=1), score("b", dice=0.95, quality=0.2),
        score("c", dice=0.1, quality=0.8), score("d", dice=0.0, fault="gone"), score("e", dice=0.99, quality=0.95),
        score("a", dice=0.5, method="silent"),
    ]  # fmt: skip
    curves = rank_for_review(rows)
    assert list(curves) == ["ours"]
    assert [sample for _, sample in curves["ours"].slices] == ["d", "b", "a", "c", "e"]
    assert curves["ours"].wrong == (1, 0, 1, 1, 0)
    assert curves["ours"].needed == 4 / 5
    table = tabulate_triage(curves)
    assert "90 % of them are seen in 80 % of the slices" in table.note
    assert [row[6] for row in table.rows] == [pytest.approx(x, abs=1e-4) for x in np.array([1, 1, 2, 3, 3]) / 3]
