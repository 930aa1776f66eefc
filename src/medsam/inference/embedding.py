"""What a slice becomes once: features for the decoder, with everything needed to read them.

Shape legend: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medsam.imaging.frame import Frame


@dataclass(frozen=True, eq=False)
class Embedding:
    """One encoded slice; decode it as often as you like, from any thread.

    Args:
        features: (1, 256, 64, 64) float tensor, on the device of the predictor that made it.
        frame: How the slice was laid into the model frame; prompts in, masks out.
        weights: Identity of the weights that made it; another model's predictor refuses it.
    """

    features: torch.Tensor
    frame: Frame
    weights: str
