"""The ViT encoder rearranged for inference gives the numbers of the plain one."""

from __future__ import annotations

import pytest
import torch
from random_weights import fill

from medsam.models.networks.fast.image_encoder import FusedImageEncoder
from medsam.models.networks.image_encoder import ImageEncoder


# 20 tokens a side are two windows of 14 with padding, 28 two without
@pytest.mark.parametrize("image_size", [320, 448])
@torch.inference_mode()
def test_vit_is_equal(library, image_size):
    plain = fill(ImageEncoder(channels=96, depth=3, heads=3, global_blocks=(1,), image_size=image_size))
    image = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(1))
    before = image.clone()
    torch.testing.assert_close(FusedImageEncoder(plain)(image), plain(image), atol=2e-5, rtol=0)
    assert torch.equal(image, before)


@torch.inference_mode()
def test_vit_with_tables_of_another_size_is_equal():
    plain = fill(ImageEncoder(channels=96, depth=1, heads=3, global_blocks=(0,), image_size=128))
    plain.blocks[0].attn.rel_pos_h = torch.nn.Parameter(torch.randn(27, 32))
    image = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(FusedImageEncoder(plain)(image), plain(image), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.02), ("int8", 0.05)])
@torch.inference_mode()
def test_vit_in_fewer_bits_is_near(precision, error):
    plain = fill(ImageEncoder(channels=96, depth=3, heads=3, global_blocks=(1,), image_size=320))
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(1))
    expected, given = plain(image), FusedImageEncoder(plain, precision)(image)
    assert given.dtype == torch.float32
    assert (given - expected).norm() < error * expected.norm()
