"""The running average of the weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import same, weights
from tiny import CONFIG, train

from medsam.training.learner.average import Average
from medsam.training.run import sealed


def test_the_average_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = Average(model, 0.5)
    model.weight.data.fill_(3.0)
    average.update(model, 0)  # decay min(0.5, 1 / 10)
    assert average.values["weight"].item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    with average.applied(model):
        assert model.weight.item() == pytest.approx(2.8)
    assert model.weight.item() == 3.0


def test_an_averaged_run_goes_on_exactly(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, average=0.9)
    train(discs, tmp_path / "whole", config)
    train(discs, tmp_path / "cut", config)
    last = sealed.list_checkpoints(tmp_path / "cut")[-1]
    (last / "state.json").write_text(json.dumps({"format": 0}))
    train(discs, tmp_path / "cut", config, resume=True)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert not same(weights(tmp_path / "whole"), weights(last, "weights.safetensors"))
