"""DeepLabV3+ with a ResNet-50 encoder at output stride 16, the specialist of the paper (224 x 224, image and box as input).

Shapes: B images, C channels, H rows, W columns of the input; stride s means (H / s, W / s). Module names of the encoder are those
of torchvision's and timm's ResNet-50, so that their checkpoints load as they are.
Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution" (ECCV 2018); the paper's Methods, "Training protocol".
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.errors import CheckpointError

ASPP_RATES = (12, 24, 36)
WIDTH = 256  # channels of the decoder
LOW_WIDTH = 48  # channels kept of the stride-4 features
STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 2, 1), (512, 3, 1, 2))  # width, blocks, stride, dilation


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 convolutions around a shortcut: (B, C, h, w) to (B, 4 * width, h / stride, w / stride)."""

    def __init__(self, channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        changes = stride != 1 or channels != 4 * width
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
            if changes
            else None
        )

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Add what the convolutions find to the input."""
        y = F.relu(self.bn1(self.conv1(x_BChw)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x_BChw if self.downsample is None else self.downsample(x_BChw)), inplace=True)


class ResNet50(nn.Module):
    """The encoder without its classifier: features at strides 4 and 16."""

    def __init__(self, in_channels: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for number, (width, blocks, stride, dilation) in enumerate(STAGES, start=1):
            layers = [Bottleneck(channels, width, stride, dilation)]
            channels = 4 * width
            layers += [Bottleneck(channels, width, 1, dilation) for _ in range(blocks - 1)]
            setattr(self, f"layer{number}", nn.Sequential(*layers))

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Returns:
            (B, 256, H / 4, W / 4) and (B, 2048, H / 16, W / 16).
        """
        x = F.relu(self.bn1(self.conv1(x_BCHW)), inplace=True)  # (B, 64, H / 2, W / 2)
        x = F.max_pool2d(x, 3, 2, 1)  # (B, 64, H / 4, W / 4)
        low = self.get_submodule("layer1")(x)  # (B, 256, H / 4, W / 4)
        x = low
        for name in ("layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
        return low, x  # (B, 2048, H / 16, W / 16)


def _separable(channels: int, width: int, dilation: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, 1, dilation, dilation, groups=channels, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def _pointwise(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class SpatialPyramid(nn.Module):
    """Atrous spatial pyramid pooling: the same features seen at several distances, (B, 2048, h, w) to (B, 256, h, w)."""

    def __init__(self, channels: int = 2048) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_pointwise(channels, WIDTH), *(_separable(channels, WIDTH, rate) for rate in ASPP_RATES)]
        )
        # One value a channel has no variance over a batch of one image: this branch is normalized over its channels' batch.
        self.whole = _pointwise(channels, WIDTH)
        self.project = nn.Sequential(*_pointwise(5 * WIDTH, WIDTH), nn.Dropout(0.5))

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Join all distances and project them to 256 channels."""
        whole = self.whole(F.adaptive_avg_pool2d(x_BChw, 1))  # (B, 256, 1, 1)
        whole = whole.expand(-1, -1, *x_BChw.shape[-2:])  # (B, 256, h, w)
        joined = torch.cat([*(branch(x_BChw) for branch in self.branches), whole], dim=1)  # (B, 1280, h, w)
        out: Tensor = self.project(joined)
        return out


class DeepLabV3Plus(nn.Module):
    """Image and box to one logit a pixel.

    Args:
        in_channels: Channels of the input; the last one is the box.
    """

    def __init__(self, in_channels: int = 4) -> None:
        super().__init__()
        self.encoder = ResNet50(in_channels)
        self.pyramid = SpatialPyramid()
        self.widen = _separable(WIDTH, WIDTH)
        self.low = _pointwise(256, LOW_WIDTH)
        self.join = _separable(WIDTH + LOW_WIDTH, WIDTH)
        self.head = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Segment a batch.

        Args:
            x_BCHW: float32, H and W multiples of 16; more than one image where the network trains, since the branch that
                pools the whole image has one value a channel.

        Returns:
            Logits (B, 1, H, W).
        """
        low, deep = self.encoder(x_BCHW)  # (B, 256, H / 4, W / 4), (B, 2048, H / 16, W / 16)
        deep = self.widen(self.pyramid(deep))  # (B, 256, H / 16, W / 16)
        deep = F.interpolate(deep, scale_factor=4, mode="bilinear", align_corners=True)  # (B, 256, H / 4, W / 4)
        joined = self.join(torch.cat([deep, self.low(low)], dim=1))  # (B, 256, H / 4, W / 4)
        logits: Tensor = self.head(joined)
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=True)  # (B, 1, H, W)


def load_encoder(network: DeepLabV3Plus, weights: Mapping[str, Tensor]) -> None:
    """Start the encoder from a ResNet-50 of torchvision or timm.

    The first convolution takes the published colours in turn for its channels, scaled to the same sum, as segmentation-models-pytorch
    does for inputs of more than three channels.

    Args:
        network: Changed in place.
        weights: conv1.weight, bn1.*, layer1 to layer4.*; a classifier fc.* is passed over.

    Raises:
        CheckpointError: keys or shapes that are not those of a ResNet-50.
    """
    own = network.encoder.state_dict()
    given = {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}
    odd = sorted(name for name in own.keys() | given.keys() if _shape(own, name) != _shape(given, name))
    if [name for name in odd if name != "conv1.weight"] or _shape(given, "conv1.weight") != (64, 3, 7, 7):
        raise CheckpointError(
            f"encoder weights that differ from a ResNet-50 in {len(odd)} entries, the first {odd[0]!r}",
            expected="the state dict of torchvision's or timm's resnet50",
            fix="save the plain state dict of a resnet50 (3 channels) and pass that file",
        )
    channels = own["conv1.weight"].shape[1]
    first = torch.stack([given["conv1.weight"][:, i % 3] for i in range(channels)], dim=1) * (3 / channels)
    network.encoder.load_state_dict({**given, "conv1.weight": first})


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    return tuple(weights[name].shape) if name in weights else ()
