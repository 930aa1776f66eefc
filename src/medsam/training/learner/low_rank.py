"""Low-rank updates of the attention of an image encoder (LoRA): added for training, folded into the weights after.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from medsam.models.networks.medsam import MedSAM

ADAPTED = ("qkv", "proj")  # the linear layers of attention


class LowRank(nn.Module):
    """A linear layer's weight plus the product of two thin matrices, zero at first; keys `down`, `up`."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        generator = torch.Generator().manual_seed(rows * 65_537 + columns)
        self.down = nn.Parameter((torch.randn(rank, columns, generator=generator) / columns**0.5).to(weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """(rows, columns) -> the same."""
        return weight + self.up @ self.down


def add_updates(encoder: nn.Module, rank: int) -> None:
    """Add an update of a rank to every linear layer of attention, in place, and freeze the weights under it."""
    layers = [
        (name, layer)
        for name, layer in encoder.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in ADAPTED
    ]
    for _, layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank), unsafe=True)
        layer.parametrizations.weight.original.requires_grad_(False)  # type: ignore[union-attr] # made by the line above


def fold_updates(model: MedSAM) -> MedSAM:
    """A copy with low-rank updates folded into the weights they belong to: what is saved and served."""
    network = copy.deepcopy(model)
    adapted = [name for name, module in network.named_modules() if parametrize.is_parametrized(module)]
    for name in adapted:
        old = cast(nn.Linear, network.get_submodule(name))
        new = nn.Linear(old.in_features, old.out_features, bias=old.bias is not None, device=old.weight.device)
        with torch.no_grad():
            new.weight.copy_(old.weight)
            new.bias.copy_(old.bias)
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, new)
    return network
