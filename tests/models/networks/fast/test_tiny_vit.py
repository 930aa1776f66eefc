"""The TinyViT encoder rearranged for inference gives the numbers of the plain one."""

from __future__ import annotations

import pytest
import torch
from random_weights import fill

from medsam.models.networks.fast.tiny_vit import FusedTinyViT
from medsam.models.networks.tiny_vit import TinyViT


@torch.inference_mode()
def test_tiny_vit_is_equal(library):
    plain = fill(TinyViT(image_size=96))
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(FusedTinyViT(plain)(image), plain(image), atol=2e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3])
@torch.inference_mode()
def test_the_stem_is_equal(count):
    plain = fill(TinyViT(image_size=64))
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(FusedTinyViT(plain).stem(image, count), plain.stem(image, count), atol=2e-5, rtol=0)
