"""Whether one batch can be learnt, which shows a wrong configuration before a long run does."""

from __future__ import annotations

import torch

from medsam.errors import DataError
from medsam.models.networks.medsam import MedSAM
from medsam.training.config import TrainConfig
from medsam.training.learner.objective import Objective
from medsam.training.learner.trainable import list_trainable, set_trainable
from medsam.training.samples.dataset import Draws, join_batches

STEPS = 10  # at most; it ends once the loss has fallen
IMAGES = 2
FALL = 0.95  # of the loss at least


def check_learnable(model: MedSAM, draws: Draws, config: TrainConfig, device: torch.device) -> tuple[float, float]:
    """Overfit one batch on a copy of the model, which what is configured wrongly cannot do.

    Wrong masks may be learnt by heart too, so it says little about them.

    Returns:
        Loss at the first step and at the one where it had fallen.

    Raises:
        DataError: the loss did not fall by a twentieth.
    """
    batch = join_batches([draws[d] for d in range(min(IMAGES, len(draws.source)))]).to(device)
    set_trainable(model.to(device), config)
    objective = Objective(model, config)
    with torch.no_grad():
        features = model.encode(batch.image_B3SS) if config.encoder == "frozen" else None
    optimizer = torch.optim.AdamW(list_trainable(model).values(), lr=config.learning_rate)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = objective(batch, features).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if losses[-1] < FALL * losses[0]:
            return losses[0], losses[-1]
    raise DataError(
        f"the loss of one batch went from {losses[0]:.4f} to {losses[-1]:.4f} in {STEPS} steps",
        expected="a loss that falls by a twentieth at least",
        fix="check that masks belong to their images, or change --learning-rate",
    )
