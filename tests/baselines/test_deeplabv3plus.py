"""DeepLabV3+: the size that segmentation-models-pytorch publishes, shapes, gradients and imported encoders."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medsam.baselines.deeplabv3plus import DeepLabV3Plus, ResNet50, load_encoder
from medsam.errors import CheckpointError


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_it_has_the_parameters_of_segmentation_models_pytorch() -> None:
    """DeepLabV3Plus("resnet50", in_channels=3, classes=1) has 26,677,585; its encoder is a ResNet-50 without the classifier."""
    assert parameters(ResNet50(3)) == 25_557_032 - (2048 * 1000 + 1000)  # torchvision's resnet50 less fc
    assert parameters(DeepLabV3Plus(3)) == 26_677_585
    assert parameters(DeepLabV3Plus(4)) == 26_677_585 + 64 * 49


def test_strides_and_shapes_are_those_of_output_stride_16() -> None:
    network = DeepLabV3Plus().eval()
    x = torch.zeros(2, 4, 64, 96)
    low, deep = network.encoder(x)
    assert low.shape == (2, 256, 16, 24)
    assert deep.shape == (2, 2048, 4, 6)
    assert network(x).shape == (2, 1, 64, 96)
    assert network.encoder.layer4[1].conv2.dilation == (2, 2)


def test_it_learns_to_fill_the_box_it_is_given() -> None:
    torch.manual_seed(0)
    network = DeepLabV3Plus()
    x = torch.rand(4, 4, 32, 32)
    x[:, 3] = 0
    for i in range(4):
        x[i, 3, 4 * i : 4 * i + 12, 8:24] = 1
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = F.binary_cross_entropy_with_logits(network(x), x[:, 3:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None for p in network.parameters())


def test_an_encoder_from_elsewhere_gives_its_features_on_three_channels() -> None:
    torch.manual_seed(0)
    other = ResNet50(3).eval()
    network = DeepLabV3Plus(3).eval()
    load_encoder(network, {**other.state_dict(), "fc.weight": torch.zeros(1000, 2048)})
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        for a, b in zip(network.encoder(x), other(x), strict=True):
            assert torch.equal(a, b)


def test_the_box_channel_starts_from_a_published_colour_and_the_sum_stays() -> None:
    other = ResNet50(3)
    network = DeepLabV3Plus(4)
    load_encoder(network, other.state_dict())
    first, given = network.encoder.conv1.weight, other.conv1.weight
    assert torch.allclose(first[:, 3], given[:, 0] * 0.75)
    assert torch.allclose(first[:, :3], given * 0.75)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="ResNet-50"):
        load_encoder(DeepLabV3Plus(), {"conv1.weight": torch.zeros(64, 3, 7, 7)})
