"""Packed layers against sums done by hand."""

from __future__ import annotations

import torch

from medsam.models.networks.fast.onednn import Int8Linear, PackedConv, PackedLinear, can_pack, can_pack_int8


def test_switching_onednn_off_gives_plain_layers():
    with torch.backends.mkldnn.flags(enabled=False):
        assert not can_pack()
        assert not can_pack_int8()
        assert not PackedLinear(torch.eye(2)).packs
        assert not PackedConv(torch.ones(1, 1, 1, 1), None).packs


@torch.inference_mode()
def test_linear_by_hand(library):
    layer = PackedLinear(torch.tensor([[1.0, 2.0], [3.0, -4.0]]), torch.tensor([0.5, 1.0]))
    x = torch.tensor([[[1.0, 1.0], [2.0, 0.0]]])
    torch.testing.assert_close(layer(x), torch.tensor([[[3.5, 0.0], [2.5, 7.0]]]))
    torch.testing.assert_close(layer(-x, "relu"), torch.tensor([[[0.0, 2.0], [0.0, 0.0]]]))
    # gelu(x) = x * P(Z < x) of a standard normal Z
    torch.testing.assert_close(layer(x[:, 1:] - 1, "gelu")[0, 0, 0], torch.tensor(-0.5 * 0.3085375))
    assert PackedLinear.once(x[0], torch.tensor([[2.0, 5.0]])).tolist() == [[7.0], [4.0]]


@torch.inference_mode()
def test_convolution_by_hand(library):
    image = torch.arange(16.0).view(1, 1, 4, 4)
    summed = PackedConv(torch.ones(1, 1, 2, 2), torch.tensor([-18.0]), stride=2)
    assert summed(image).tolist() == [[[[-8.0, 0.0], [24.0, 32.0]]]]
    assert summed(image, "relu").tolist() == [[[[0.0, 0.0], [24.0, 32.0]]]]
    across = PackedConv(torch.ones(2, 1, 1, 3), None, padding=(0, 1), groups=2)
    two = torch.tensor([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]]).view(1, 2, 1, 3)
    assert across(two).flatten().tolist() == [3.0, 7.0, 6.0, 30.0, 70.0, 60.0]


@torch.inference_mode()
def test_int8_layer_on_whole_numbers_is_exact():
    layer = Int8Linear(torch.tensor([[127.0, 0.0], [-127.0, 127.0]]), torch.tensor([1.0, 0.0]))
    x = torch.tensor([[0.0, 255.0], [10.0, 3.0]])  # range 0 to 255, so one level is one unit
    torch.testing.assert_close(layer(x), torch.tensor([[1.0, 255.0 * 127], [1271.0, -7.0 * 127]]))
