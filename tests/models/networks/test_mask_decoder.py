"""The mask decoder: attention and heads by hand, which masks are given."""

from __future__ import annotations

import math

import pytest
import torch
from random_weights import fill

from medsam.models.networks.mask_decoder import HeadMLP, MaskDecoder, TokenAttention


@pytest.mark.parametrize("path", ["sdpa", "explicit"])
@torch.no_grad()
def test_attention_by_hand(path) -> None:
    attention = TokenAttention(2, 1)
    attention.path = path
    for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj):
        linear.weight.copy_(torch.eye(2))
        linear.bias.zero_()
    keys = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    values = torch.tensor([[[8.0, 4.0], [0.0, 40.0]]])
    # logits are q . k / sqrt(2): ln 3 and 0, so the weights are 3/4 and 1/4; a query of zeros weighs all alike
    queries = torch.tensor([[[math.sqrt(2) * math.log(3), 9.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(attention(queries, keys, values), torch.tensor([[[6.0, 13.0]], [[4.0, 22.0]]]))


@torch.no_grad()
def test_head_by_hand() -> None:
    head = HeadMLP(1, 2, 1)
    for layer, weight in zip(head.layers, ([[1.0], [-1.0]], [[1.0, 2.0], [3.0, 4.0]], [[1.0, 10.0]]), strict=True):
        layer.weight.copy_(torch.tensor(weight))
        layer.bias.copy_(torch.zeros(len(weight)))
    assert head(torch.tensor([[2.0], [-2.0]])).tolist() == [[62.0], [84.0]]


@torch.no_grad()
def test_the_first_mask_is_for_clear_prompts_and_the_others_for_ambiguous_ones() -> None:
    decoder = fill(MaskDecoder(channels=32, heads=4, hidden=16))
    generator = torch.Generator().manual_seed(1)
    image, tokens = torch.randn(1, 32, 3, 5, generator=generator), torch.randn(2, 2, 32, generator=generator)
    one, quality = decoder(image, tokens, torch.zeros(32, 3, 5))
    three, qualities = decoder(image, tokens, torch.zeros(32, 3, 5), multimask=True)
    assert (one.shape, quality.shape) == ((2, 1, 12, 20), (2, 1))
    assert (three.shape, qualities.shape) == ((2, 3, 12, 20), (2, 3))
    # the third mask's weights decide the third mask alone
    decoder.output_hypernetworks_mlps[3].layers[2].weight.zero_()
    decoder.output_hypernetworks_mlps[3].layers[2].bias.zero_()
    changed, _ = decoder(image, tokens, torch.zeros(32, 3, 5), multimask=True)
    assert torch.equal(changed[:, :2], three[:, :2])
    assert not changed[:, 2].any()
    assert torch.equal(decoder(image, tokens, torch.zeros(32, 3, 5))[0], one)
