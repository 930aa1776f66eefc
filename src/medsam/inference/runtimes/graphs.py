"""The two halves of a model as graphs with plain tensors in and out: what OpenVINO and ONNX Runtime run.

Shape legend: B batch, N prompts, T prompt tokens, C channels, H rows, W columns, S side of the model frame, h w 256.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsam.inference.prompts import PADDING, ModelPrompts
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import BOTTOM_RIGHT, TOP_LEFT

ENCODER_INPUT = "image"
DECODER_INPUTS = ("features", "coordinates", "labels", "mask", "has_mask")


class EncoderGraph(nn.Module):
    """image (B, 3, S, S) -> features (B, C, H, W)."""

    def __init__(self, model: MedSAM) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Encode."""
        return self.model.encode(image)


class DecoderGraph(nn.Module):
    """Features and prompts to logits (N, 1, h, w) and predicted IoU (N, 1).

    Every prompt is T coordinates with a label each, as in SAM's own exported decoder: 0 outside, 1 inside, 2 and 3 the
    corners of a box, -1 filling. The previous mask counts where has_mask is 1.
    """

    def __init__(self, model: MedSAM) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: Tensor, coordinates: Tensor, labels: Tensor, mask: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode."""
        prompts = self.model.prompt_encoder
        tokens_NTC = prompts.embed_points(coordinates, labels)
        for corner in (TOP_LEFT, BOTTOM_RIGHT):
            kind = cast(nn.Embedding, prompts.point_embeddings[corner]).weight
            tokens_NTC = torch.where(labels.unsqueeze(-1) == corner, tokens_NTC + kind, tokens_NTC)
        dense = has_mask * prompts.embed_masks(mask) + (1 - has_mask) * prompts.no_mask()
        positions = prompts.image_positions()
        return cast(tuple[Tensor, Tensor], self.model.mask_decoder(features + dense, tokens_NTC, positions))


def make_encoder_example(model: MedSAM) -> tuple[Tensor]:
    """An input to trace the encoder with."""
    return (torch.zeros(1, 3, model.frame_size, model.frame_size),)


def make_decoder_example(model: MedSAM) -> tuple[Tensor, ...]:
    """Inputs to trace the decoder with: two prompts of three tokens, since one prompt would be taken for a constant."""
    grid = model.prompt_encoder.grid
    labels = torch.tensor([[1, TOP_LEFT, BOTTOM_RIGHT], [0, TOP_LEFT, BOTTOM_RIGHT]])
    return (
        torch.zeros(1, 256, grid, grid),
        torch.zeros(2, 3, 2),
        labels,
        torch.zeros(1, 1, 4 * grid, 4 * grid),
        torch.zeros(1),
    )


def make_decoder_inputs(features_1CHW: Tensor, prompts: ModelPrompts) -> dict[str, NDArray[np.generic]]:
    """Prompts as the decoder graph takes them."""
    coordinates, labels = [], []
    if prompts.points_NP2 is not None and prompts.labels_NP is not None:
        coordinates.append(prompts.points_NP2)
        labels.append(prompts.labels_NP)
    if prompts.boxes_N4 is None:  # a filling point in place of the box, as published
        coordinates.append(torch.zeros(prompts.count, 1, 2))
        labels.append(torch.full((prompts.count, 1), PADDING))
    else:
        coordinates.append(prompts.boxes_N4.reshape(-1, 2, 2))
        labels.append(torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]]).expand(prompts.count, -1))
    given = prompts.masks_N1hw
    side = 4 * features_1CHW.shape[-1]
    mask = torch.zeros(1, 1, side, side) if given is None else given
    values = (
        features_1CHW,
        torch.cat(coordinates, 1),
        torch.cat(labels, 1),
        mask,
        torch.tensor([float(given is not None)]),
    )
    return {name: np.ascontiguousarray(v.cpu().numpy()) for name, v in zip(DECODER_INPUTS, values, strict=True)}
