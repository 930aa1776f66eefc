"""Small layers against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medsam.models.networks.layers import LayerNorm2d, TokenMLP, init_linear, make_neck


@torch.no_grad()
def test_layer_norm_is_over_the_channels_of_each_pixel() -> None:
    norm = LayerNorm2d(2)
    pixels = torch.tensor([[[[1.0, 5.0, -4.0]], [[3.0, 5.0, 0.0]]]])  # (1, 2, 1, 3): (1, 3), (5, 5), (-4, 0)
    torch.testing.assert_close(norm(pixels), torch.tensor([[[[-1.0, 0.0, -1.0]], [[1.0, 0.0, 1.0]]]]))
    norm.weight.copy_(torch.tensor([2.0, 3.0]))
    norm.bias.copy_(torch.tensor([10.0, 20.0]))
    torch.testing.assert_close(norm(pixels), torch.tensor([[[[8.0, 10.0, 8.0]], [[23.0, 20.0, 23.0]]]]))


@torch.no_grad()
def test_token_mlp_activates_between_its_layers() -> None:
    mlp = TokenMLP(2, 2, nn.ReLU)
    mlp.lin1.weight.copy_(torch.eye(2))
    mlp.lin2.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    mlp.lin1.bias.zero_()
    mlp.lin2.bias.copy_(torch.tensor([0.0, 10.0]))
    assert mlp(torch.tensor([[[3.0, -4.0], [1.0, 2.0]]])).tolist() == [[[3.0, 13.0], [3.0, 9.0]]]


@torch.no_grad()
def test_neck_keeps_the_grid_and_ends_normalized() -> None:
    out = make_neck(2, 3)(torch.randn(1, 2, 5, 4, generator=torch.Generator().manual_seed(0)) * 100)
    assert out.shape == (1, 3, 5, 4)
    torch.testing.assert_close(out.mean(1), torch.zeros(1, 5, 4), atol=1e-5, rtol=0)
    # The normalization divides by the root of the variance plus 1e-6: channels that hardly differ stay just under one.
    torch.testing.assert_close(out.var(1, correction=0), torch.ones(1, 5, 4), atol=1e-2, rtol=0)


def test_linear_layers_start_small_and_without_bias() -> None:
    linear = nn.Linear(200, 200)
    init_linear(linear)
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not linear.bias.any()
