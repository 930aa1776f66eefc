"""The paper's loss: cross-entropy plus Dice, unweighted, of each target by itself.

Shapes: T targets, S side of the model frame.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1e-7  # keeps 0 / 0 of an empty mask from being NaN; nothing beside one pixel


def cross_entropy(logits_TSS: Tensor, masks_TSS: Tensor, inside_TSS: Tensor) -> Tensor:
    """Binary cross-entropy of each target, the mean over the pixels of the image, (T,).

    Args:
        logits_TSS: Before the sigmoid, float32.
        masks_TSS: Expert masks, 0 or 1.
        inside_TSS: 1 where the frame shows the image, 0 in its padding.

    Source: paper, Methods, "Loss function", Eq. 1.
    """
    each = F.binary_cross_entropy_with_logits(logits_TSS, masks_TSS, reduction="none")
    return (each * inside_TSS).sum(dim=(1, 2)) / inside_TSS.sum(dim=(1, 2))


def dice_loss(logits_TSS: Tensor, masks_TSS: Tensor, inside_TSS: Tensor) -> Tensor:
    """One minus the soft Dice of each target, squared terms in the denominator, (T,).

    Args:
        logits_TSS: Before the sigmoid, float32.
        masks_TSS: Expert masks, 0 or 1.
        inside_TSS: 1 where the frame shows the image, 0 in its padding.

    Source: paper, Methods, "Loss function", Eq. 2.
    """
    s, g = logits_TSS.sigmoid() * inside_TSS, masks_TSS * inside_TSS
    common = (s * g).sum(dim=(1, 2))
    return 1 - (2 * common + SMOOTH) / ((s * s).sum(dim=(1, 2)) + (g * g).sum(dim=(1, 2)) + SMOOTH)


def segmentation_loss(logits_TSS: Tensor, masks_TSS: Tensor, inside_TSS: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss of each target, (T,) float32.

    Source: paper, Methods, "Loss function", Eq. 3.
    """
    return cross_entropy(logits_TSS, masks_TSS, inside_TSS) + dice_loss(logits_TSS, masks_TSS, inside_TSS)


@torch.no_grad()
def measure_iou(logits_TSS: Tensor, masks_TSS: Tensor, inside_TSS: Tensor) -> Tensor:
    """Intersection over union of what is predicted and the expert masks, (T,): what the quality head learns to say."""
    found, wanted = (logits_TSS > 0) & (inside_TSS > 0), masks_TSS > 0.5
    return (found & wanted).sum(dim=(1, 2)) / (found | wanted).sum(dim=(1, 2)).clamp(min=1)
