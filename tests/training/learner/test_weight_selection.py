"""A student that starts from a part of a larger TinyViT."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import CONFIG

from medsam.errors import DataError
from medsam.models.networks.medsam import build
from medsam.models.networks.tiny_vit import TinyViT
from medsam.training.learner.weight_selection import inherit_weights

TAUGHT = replace(CONFIG, student="tiny_vit_s", epochs=4, learning_rate=5e-3, cosine_weight=0.5)


def small(widths: tuple[int, ...], depths: tuple[int, ...], heads: tuple[int, ...], window: int = 4) -> TinyViT:
    return TinyViT(
        widths=widths, depths=depths, heads=heads, windows=(window,) * 4, image_size=64, out_channels=32
    ).eval()  # fmt: skip


def test_a_student_of_the_same_shape_inherits_everything() -> None:
    torch.manual_seed(5)
    base, same = (small((8, 16, 16, 32), (2, 1, 3, 1), (1, 2, 2, 4)) for _ in range(2))
    assert not torch.equal(base.neck[0].weight, same.neck[0].weight)
    inherit_weights(same, base)
    assert all(torch.equal(one, same.state_dict()[name]) for name, one in base.state_dict().items())


def test_a_smaller_student_inherits_whole_heads_and_the_same_channels_everywhere() -> None:
    torch.manual_seed(6)
    base = small((8, 16, 32, 32), (2, 1, 3, 2), (1, 2, 4, 4))
    own = small((4, 8, 16, 32), (1, 1, 2, 1), (1, 1, 2, 4))
    inherit_weights(own, base)
    ours, theirs = own.state_dict(), base.state_dict()
    # blocks 0 and 1 of three; heads 0 and 2 of four; of 32 channels every second
    second, block = torch.arange(0, 32, 2), "layers.2.blocks.1."
    qkv = theirs[block + "attn.qkv.weight"].view(4, 3, 8, 32)[::2, :, :, second].reshape(48, 16)
    assert torch.equal(ours[block + "attn.qkv.weight"], qkv)
    proj = theirs[block + "attn.proj.weight"].view(32, 4, 8)[second][:, ::2].reshape(16, 16)
    assert torch.equal(ours[block + "attn.proj.weight"], proj)
    assert torch.equal(ours[block + "attn.attention_biases"], theirs[block + "attn.attention_biases"][::2])
    assert torch.equal(ours[block + "mlp.fc1.weight"], theirs[block + "mlp.fc1.weight"][::2, ::2])
    assert torch.equal(
        ours["layers.0.downsample.conv1.c.weight"], theirs["layers.0.downsample.conv1.c.weight"][::2, ::2]
    )
    assert torch.equal(ours["neck.0.weight"], theirs["neck.0.weight"])


@pytest.mark.parametrize(
    "base",
    [
        small((4, 8, 8, 32), (1, 1, 1, 1), (1, 1, 1, 4)),  # narrower
        small((8, 16, 32, 32), (1, 1, 1, 1), (1, 2, 4, 4), window=7),
        build("vit_b", initialise=False).image_encoder,
    ],
)
def test_a_base_that_has_less_or_other_parts_is_refused(base: torch.nn.Module) -> None:
    with pytest.raises(DataError, match=r"expected a TinyViT of at least"):
        inherit_weights(small((8, 8, 16, 32), (1, 1, 1, 1), (1, 1, 2, 4)), base)
