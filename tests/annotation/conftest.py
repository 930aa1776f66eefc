"""A predictor whose answers can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from medsam.inference.predictor import Predictor
from medsam.models.manifest import Manifest


class BrightRuntime:
    """No weights: the mask is what is brighter than grey 127 inside the box. The features hold the frame itself."""

    name, precision, batch_size = "bright", "fp32", 4

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, image_B3SS):
        self.encoded += len(image_B3SS)
        return F.pixel_unshuffle(image_B3SS[:, :1], 4).repeat(1, 16, 1, 1)

    def decode(self, features_1CHW, prompts, *, multimask):
        frame = F.pixel_shuffle(features_1CHW[:, :16], 4)[0, 0]
        logits = (frame * 255 - 127.5).repeat(prompts.count, 1, 1, 1)
        y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
        for one, (x0, y0, x1, y1) in zip(logits, prompts.boxes_N4.tolist(), strict=True):
            one[:, ~((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))] = -100
        return logits, torch.full(logits.shape[:2], 0.5)


@pytest.fixture
def bright() -> Predictor:
    return Predictor(
        BrightRuntime(), Manifest("bright", "tiny_vit", 256, "pad", "area", "unit", "logits"), weights="bright"
    )
