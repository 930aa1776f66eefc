"""The loss of a batch: several targets of an image, and the quality head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from runs import weights
from tiny import CONFIG, MANIFEST, source, tiny_model, train

from medsam.training.learner.objective import Objective
from medsam.training.learner.trainable import set_trainable
from medsam.training.samples.dataset import Draws, join_batches


def test_the_quality_head_learns_when_it_has_a_weight(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run", replace(CONFIG, epochs=1, quality_weight=1.0))
    start, end = tiny_model().state_dict(), weights(tmp_path / "run")
    assert not torch.equal(
        start["mask_decoder.iou_prediction_head.layers.2.weight"],
        end["mask_decoder.iou_prediction_head.layers.2.weight"],
    )


def test_several_targets_on_one_embedding_give_the_mean_of_their_losses(discs: Path) -> None:
    config = replace(CONFIG, prompts_per_image=2)
    model = set_trainable(tiny_model(), config)
    draws = Draws(source(discs, "train"), MANIFEST, config)
    together = [draws[d] for d in range(4)]
    objective = Objective(model, config)
    joined, alone = objective(join_batches(together)), torch.cat([objective(one) for one in together])
    assert torch.allclose(joined, alone, atol=1e-5)
