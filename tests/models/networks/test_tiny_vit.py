"""The TinyViT encoder: offsets and fused norms by hand; both halves make the whole."""

from __future__ import annotations

import pytest
import torch
from random_weights import fill

from medsam.errors import CheckpointError
from medsam.models.networks.tiny_vit import ConvNorm, Merge, OffsetAttention, TinyViT, number_offsets


def test_offsets_of_a_window_of_two_by_hand() -> None:
    assert number_offsets(2).tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]


@torch.no_grad()
def test_a_batch_norm_is_folded_into_its_convolution_by_hand() -> None:
    layer = ConvNorm(1, 1).eval()
    layer.c.weight.fill_(2.0)
    layer.bn.running_mean.fill_(3.0)
    layer.bn.running_var.fill_(4.0)
    layer.bn.weight.fill_(6.0)
    layer.bn.bias.fill_(1.0)
    weight, bias = layer.fuse()
    # (2 x - 3) / 2 * 6 + 1 = 6 x - 8
    torch.testing.assert_close((weight.item(), bias.item()), (6.0, -8.0), atol=1e-4, rtol=0)
    assert layer(torch.full((1, 1, 1, 1), 5.0)).item() == pytest.approx(22.0, abs=1e-3)


@pytest.mark.parametrize("path", ["sdpa", "explicit"])
@torch.no_grad()
def test_attention_by_hand(path) -> None:
    attention = OffsetAttention(1, 1, window=2)
    attention.path = path
    attention.attention_biases[0, 1] = 100.0  # the neighbour in the same row
    qkv = torch.zeros(1, 4, 3)
    qkv[0, :, 2] = torch.tensor([1.0, 3.0, 5.0, 7.0])
    assert attention(qkv)[0, :, 0].tolist() == [3.0, 1.0, 7.0, 5.0]


@torch.no_grad()
def test_a_step_halves_the_size_where_its_stride_is_two() -> None:
    image = torch.zeros(1, 2, 8, 6)
    assert Merge(2, 3, stride=2).eval()(image).shape == (1, 3, 4, 3)
    assert Merge(2, 3, stride=1).eval()(image).shape == (1, 3, 8, 6)


@torch.no_grad()
def test_stem_and_tail_make_the_whole() -> None:
    encoder = fill(TinyViT(image_size=64))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    whole = encoder(image)
    assert whole.shape == (1, 256, 16, 16)
    for count in (1, 2, 3):
        torch.testing.assert_close(encoder.tail(encoder.stem(image, count), count), whole)
    encoder.use_attention("explicit")
    torch.testing.assert_close(encoder(image), whole, atol=1e-4, rtol=1e-4)
    for count in (0, 4):
        with pytest.raises(CheckpointError, match=f"a tail of {count} stages; expected 1 to 3"):
            encoder.tail_parts(count)
