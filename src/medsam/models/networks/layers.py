"""Small layers that more than one box of the model is built from.

Shapes: B batch, C channels, H rows, W columns, T tokens.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AttentionPath = Literal["sdpa", "explicit"]  # "explicit" is what graph exporters understand


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of an image in B, C, H, W order; keys `weight` and `bias`."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalize each pixel over its channels, then scale and shift."""
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        normed = F.layer_norm(x_BHWC, (x_BHWC.shape[-1],), self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


class TokenMLP(nn.Module):
    """Two linear layers with an activation between; keys `lin1` and `lin2`."""

    def __init__(self, channels: int, hidden: int, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden)
        self.lin2 = nn.Linear(hidden, channels)
        self.act = activation()

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Widen, activate, narrow; the shape stays."""
        return cast(Tensor, self.lin2(self.act(self.lin1(x_BTC))))


def make_neck(channels: int, out_channels: int) -> nn.Sequential:
    """The last step of an image encoder, to the embedding's depth: 1x1 and 3x3 convolution with layer norms."""
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel_size=1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )


def init_linear(module: nn.Module) -> None:
    """Normal of 0.02 for linear weights, zero for their biases (for training from scratch)."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
