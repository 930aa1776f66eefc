"""The tuning split measured: which units, and the sums that a line of metrics holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CONFIG, MANIFEST, source, tiny_model

from medsam.evaluation.measure import Score
from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.training.run.validation import choose_units, count_targets, find_medians, measure_source, summarize_scores

ONE = Score("a", "CT", "1.png", "", 0, 1, 100, "tiny", 0.5, 0.25, 0.1)
SCORES = [
    ONE,
    replace(ONE, dice=0.7, nsd=0.75),
    replace(ONE, dataset="b", dice=0.9),
    replace(ONE, dataset="c", modality="MR", dice=0.1, nsd=1.0),
]


def test_medians_counts_and_the_mean_over_modalities_by_hand() -> None:
    assert find_medians(SCORES, "dice", "modality") == {"CT": 0.7, "MR": 0.1}
    assert find_medians(SCORES, "dice", "dataset") == {"a": 0.6, "b": 0.9, "c": 0.1}
    assert count_targets(SCORES, "modality") == {"CT": 3, "MR": 1}
    line, means = summarize_scores(4, SCORES)
    assert means == {"dice": pytest.approx(0.4), "nsd": pytest.approx((0.25 + 1) / 2)}
    assert line["step"] == 4
    assert line["tune_dice"] == means["dice"]
    assert line["tune_nsd_by_modality"] == {"CT": 0.25, "MR": 1.0}
    assert line["targets_by_dataset"] == {"a": 2, "b": 1, "c": 1}


def test_units_are_chosen_evenly(discs: Path) -> None:
    train = source(discs, "train")
    assert choose_units(train, replace(CONFIG, validation_images=3)) == [0, 4, 8]
    assert choose_units(train, replace(CONFIG, validation_images=99)) == list(range(9))


def test_processes_share_the_units_and_measure_what_one_would(discs: Path) -> None:
    predictor = Predictor(TorchRuntime(tiny_model(), device=torch.device("cpu")), MANIFEST, weights="tiny")
    config = replace(CONFIG, validation_images=4, examples=1)
    whole = list(measure_source(predictor, source(discs, "train"), config))
    parts = [list(measure_source(predictor, source(discs, "train"), config, rank=r, world=2)) for r in (0, 1)]
    for number, one in enumerate(whole):
        other = parts[number % 2][number // 2]
        assert [replace(s, seconds=0) for s in one.scores] == [replace(s, seconds=0) for s in other.scores]
    assert [one.picture is not None for one in whole] == [True, False, False, False]
    assert {score.method for one in whole for score in one.scores} == {"tiny"}
    assert np.isfinite([score.nsd for one in whole for score in one.scores]).all()
