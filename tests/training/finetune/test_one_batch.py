"""One batch is learnt by a model that can learn, and not by one whose rate is nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import CONFIG, MANIFEST, source, tiny_model

from medsam.errors import DataError
from medsam.training.finetune.one_batch import check_learnable
from medsam.training.samples.dataset import Draws


def test_a_loss_that_falls_and_one_that_does_not(discs: Path) -> None:
    draws = Draws(source(discs, "train"), MANIFEST, CONFIG)
    first, last = check_learnable(tiny_model(), draws, CONFIG, torch.device("cpu"))
    assert last < 0.95 * first
    still = replace(CONFIG, learning_rate=1e-12)
    with pytest.raises(DataError, match="masks belong to their images"):
        check_learnable(tiny_model(), draws, still, torch.device("cpu"))
