"""A U-Net of nnU-Net's 2D plan in plain PyTorch: for machines without nnU-Net, and for smoke tests.

Shapes: B images, C channels, H rows, W columns of the patch. The plan follows nnU-Net version 2: strided convolutions, two a stage, instance norm,
leaky ReLU, transposed convolutions upwards, a loss at every resolution but the two lowest.
Source: Isensee et al., "nnU-Net" (Nature Methods 2021), Supplementary Note 2, and its default 2D configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.errors import DataError

FEWEST_FEATURES = 32
MOST_FEATURES = 512
CONVOLUTIONS = 2  # a stage, downwards and upwards
SMALLEST_EDGE = 4  # of the lowest feature map in pixels
REFERENCE_SIZE = 85_000_000  # feature values of one image that nnU-Net's 8 GB reference holds at REFERENCE_BATCH
REFERENCE_BATCH = 12
REFERENCE_GB = 8.0
SMALLEST_BATCH = 2
SHARE_OF_PIXELS = 0.05  # of all pixels of the set that one batch may hold at most


@dataclass(frozen=True)
class UNetPlan:
    """What a data set and the memory decide about a network.

    Args:
        patch_HW: Input size in pixels, each a multiple of all strides of its axis.
        strides: (row, column) stride of each stage, the first (1, 1).
        features: Channels of each stage.
        batch_size: Images a step.
    """

    patch_HW: tuple[int, int]
    strides: tuple[tuple[int, int], ...]
    features: tuple[int, ...]
    batch_size: int


def plan_unet(median_HW: tuple[int, int], images: int, *, memory_gb: float = REFERENCE_GB) -> UNetPlan:
    """Plan a 2D network as nnU-Net does for square pixels: as large a patch as the memory allows, then as large a batch.

    Args:
        median_HW: Median shape of the images in pixels.
        images: How many images there are.
        memory_gb: What may be used; the reference is 8.

    Raises:
        DataError: no images, or images too small for a network.
    """
    if images < 1 or min(median_HW) < 2 * SMALLEST_EDGE or memory_gb <= 0:
        raise DataError(
            f"{images} images of a median shape of {median_HW[0]} x {median_HW[1]} with {memory_gb:g} GB",
            expected=f"at least one image of {2 * SMALLEST_EDGE} pixels a side, and some memory",
            fix="choose a modality or a task of the store that has images",
        )
    allowed = REFERENCE_SIZE * memory_gb / REFERENCE_GB
    height, width = median_HW
    patch_HW, strides = _pooled(height, width)
    while _feature_values(patch_HW, strides) > allowed and max(patch_HW) > 2 * SMALLEST_EDGE:
        longer = 0 if patch_HW[0] / height >= patch_HW[1] / width else 1  # shrink the axis that kept more of its extent
        step = prod(stride[longer] for stride in strides)
        smaller = [patch_HW[0], patch_HW[1]]
        smaller[longer] = max(2 * SMALLEST_EDGE, smaller[longer] - step)
        patch_HW, strides = _pooled(smaller[0], smaller[1])
    values = _feature_values(patch_HW, strides)
    batch = round(allowed / values * REFERENCE_BATCH)
    most = round(images * height * width * SHARE_OF_PIXELS / prod(patch_HW))
    return UNetPlan(patch_HW, strides, _features(len(strides)), max(SMALLEST_BATCH, min(batch, most)))


def _pooled(height: int, width: int) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """Halve each axis while it stays above the smallest edge; round the patch up to a multiple of its strides."""
    halvings = [0, 0]
    for axis, size in enumerate((height, width)):
        rest = float(size)
        while rest >= 2 * SMALLEST_EDGE:
            rest /= 2
            halvings[axis] += 1
    strides = [(1, 1)]
    for level in range(max(halvings)):
        strides.append((2 if level < halvings[0] else 1, 2 if level < halvings[1] else 1))
    rows, columns = 2 ** halvings[0], 2 ** halvings[1]
    return (-(-height // rows) * rows, -(-width // columns) * columns), tuple(strides)


def _features(stages: int) -> tuple[int, ...]:
    return tuple(min(MOST_FEATURES, FEWEST_FEATURES * 2**i) for i in range(stages))


def _feature_values(patch_HW: tuple[int, int], strides: tuple[tuple[int, int], ...]) -> int:
    """Values of all feature maps of one image, which is how nnU-Net estimates memory."""
    features = _features(len(strides))
    sizes = []
    size = patch_HW
    for stride in strides:
        size = (size[0] // stride[0], size[1] // stride[1])
        sizes.append(size)
    down = sum(CONVOLUTIONS * f * prod(s) for f, s in zip(features, sizes, strict=True))
    # upwards: the transposed convolution, the convolutions, and two classes of each resolution that has a loss
    up = sum(((1 + CONVOLUTIONS) * f + 2) * prod(s) for f, s in zip(features[:-1], sizes[:-1], strict=True))
    return down + up


def _stage(channels: int, features: int, stride: tuple[int, int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(CONVOLUTIONS):
        layers += [
            nn.Conv2d(channels if number == 0 else features, features, 3, stride if number == 0 else 1, 1),
            nn.InstanceNorm2d(features, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Image and box to one logit a pixel at each resolution that has a loss.

    Args:
        plan: Strides and features.
        in_channels: Channels of the input; the last one is the box.
    """

    def __init__(self, plan: UNetPlan, in_channels: int) -> None:
        super().__init__()
        features = plan.features
        widths = (in_channels, *features)
        self.down = nn.ModuleList(_stage(widths[i], features[i], stride) for i, stride in enumerate(plan.strides))
        upwards = range(len(features) - 2, -1, -1)  # stages but the lowest, from below
        self.lift = nn.ModuleList(
            nn.ConvTranspose2d(features[i + 1], features[i], plan.strides[i + 1], plan.strides[i + 1]) for i in upwards
        )
        self.up = nn.ModuleList(_stage(2 * features[i], features[i], (1, 1)) for i in upwards)
        self.heads = nn.ModuleList(nn.Conv2d(features[i], 1, 1) for i in upwards)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Segment a batch.

        Args:
            x_BCHW: float32, H and W multiples of the plan's strides.

        Returns:
            Logits, the full resolution (B, 1, H, W) first, then each lower one.
        """
        skips: list[Tensor] = []
        for stage in self.down:
            x_BCHW = stage(x_BCHW)
            skips.append(x_BCHW)
        x = skips.pop()
        outputs: list[Tensor] = []
        for lift, up, head in zip(self.lift, self.up, self.heads, strict=True):
            x = up(torch.cat([lift(x), skips.pop()], dim=1))
            outputs.append(head(x))
        return outputs[::-1]


def deep_supervision_loss(logits: list[Tensor], target_B1HW: Tensor) -> Tensor:
    """Dice and cross-entropy at each resolution, each half as heavy as the one above; the lowest one does not count.

    Args:
        logits: What UNet gives, full resolution first.
        target_B1HW: float32, 0 or 1, at full resolution.

    Source: nnU-Net's DeepSupervisionWrapper and its soft Dice over the whole batch.
    """
    weights = [0.5**i for i in range(len(logits))]
    if len(weights) > 1:
        weights[-1] = 0.0
    total = torch.zeros((), device=target_B1HW.device)
    for weight, output in zip(weights, logits, strict=True):
        if weight:
            target = F.interpolate(target_B1HW, size=output.shape[-2:], mode="nearest")
            total = total + weight / sum(weights) * dice_and_cross_entropy(output, target)
    return total


def dice_and_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss over the whole batch plus cross-entropy, of logits and a float32 target of 0 and 1 alike in shape."""
    probability = torch.sigmoid(logits)
    meeting = (probability * target).sum()
    dice = (2 * meeting + 1e-5) / (probability.sum() + target.sum() + 1e-5).clamp_min(1e-8)
    return 1 - dice + F.binary_cross_entropy_with_logits(logits, target)
