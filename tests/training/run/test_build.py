"""The parts of a run follow its configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tiny import CONFIG, MANIFEST, build

from medsam.training.learner.distillation import Distillation
from medsam.training.learner.objective import Objective
from medsam.training.run.build import make_predictor


def test_parts_are_there_where_the_configuration_asks_for_them(discs: Path, tmp_path: Path) -> None:
    plain = build(discs, tmp_path)
    assert plain.features is None
    assert plain.teacher is None
    assert plain.learner.average is None
    assert plain.learner.empty is None
    assert isinstance(plain.objective, Objective)
    full = build(discs, tmp_path, replace(CONFIG, encoder="frozen", cache_embeddings=True, average=0.9))
    assert full.features is not None
    assert full.learner.average is not None
    assert isinstance(build(discs, tmp_path, replace(CONFIG, student="tiny_vit")).objective, Distillation)


def test_each_predictor_serves_the_weights_as_they_are(discs: Path, tmp_path: Path) -> None:
    run = build(discs, tmp_path)
    image = np.zeros((60, 80, 3), np.uint8)
    before = make_predictor(run)
    first = before.decode(before.embed(image), boxes=[(10, 10, 40, 40)])[0]
    with torch.no_grad():
        for tensor in run.learner.model.mask_decoder.parameters():
            tensor.mul_(-1)
    after = make_predictor(run)
    assert not np.array_equal(after.decode(after.embed(image), boxes=[(10, 10, 40, 40)])[0], first)
    assert after.manifest == MANIFEST
