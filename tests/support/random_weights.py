"""Random weights for networks whose numbers are compared, the same in every run."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from medsam.models.networks.medsam import MedSAM, build

M = TypeVar("M", bound=nn.Module)

# Enough of a ViT-B for what is told from names and shapes alone.
SCRAP = {"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768), "mask_decoder.iou_token.weight": torch.zeros(1, 256)}


def fill(module: M, seed: int = 0) -> M:
    """Values that matter in every weight, for inference."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "running_var" in name:
            tensor.copy_(noise.abs() * 0.1 + 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(noise * 0.1 + (0.5 if name.endswith("weight") else 0.0))
        elif "rel_pos" in name or "pos_embed" in name or "biases" in name or tensor.shape[0] == 1:
            tensor.copy_(noise * 0.5)
        else:
            tensor.copy_(noise * tensor[0].numel() ** -0.5)
    return module.eval()


def random_model(architecture: str) -> MedSAM:
    """Small values of one size in every tensor."""
    model = build(architecture, initialise=False)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(-0.05, 0.05, generator=generator)
            else:
                tensor.zero_()
    return model


def same_weights(model: MedSAM, other: MedSAM) -> bool:
    """Whether two models have the same tensors under the same names."""
    ours, theirs = model.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
