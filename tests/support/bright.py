"""A model whose answers can be worked out by hand."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from medsam.inference.predictor import Predictor
from medsam.inference.prompts import ModelPrompts
from medsam.models.weights.manifest import Manifest

BRIGHT = Manifest("bright", "tiny_vit", 256, "pad", "area", "unit", "logits", ("box", "point", "mask"))


class BrightRuntime:
    """A model without weights: the mask is what is brighter than grey 127 inside the box (or, from points, anywhere).

    The features hold the model frame itself, so that what is decoded depends on the slice that was encoded.
    """

    name = "bright"
    precision = "fp32"
    batch_size = 4

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
        self.encoded += len(image_B3SS)
        return F.pixel_unshuffle(image_B3SS[:, :1], 4).repeat(1, 16, 1, 1)  # (B, 256, 64, 64)

    def decode(
        self, features_1CHW: torch.Tensor, prompts: ModelPrompts, *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frame = F.pixel_shuffle(features_1CHW[:, :16], 4)[0, 0]
        logits = (frame * 255 - 127.5).repeat(prompts.count, 3 if multimask else 1, 1, 1)
        y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
        if prompts.boxes_N4 is not None:
            for one, (x0, y0, x1, y1) in zip(logits, prompts.boxes_N4.tolist(), strict=True):
                one[:, ~((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))] = -100
        return logits, torch.full(logits.shape[:2], 0.5)


def bright_predictor() -> Predictor:
    """A predictor of this model."""
    return Predictor(BrightRuntime(), BRIGHT, weights="bright")
