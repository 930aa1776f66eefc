"""A model for another frame size: the same weights, with position tables resized to the new grid of tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medsam.errors import CheckpointError
from medsam.models.networks.architecture import Architecture
from medsam.models.networks.image_encoder import ImageEncoder, resize_table
from medsam.models.networks.medsam import MedSAM, build


@torch.no_grad()
def resize_model(model: MedSAM, architecture: Architecture, frame_size: int) -> MedSAM:
    """Give a model another frame size; its weights are copied.

    Args:
        model: Of a published architecture, not rearranged for inference.
        architecture: Its image encoder.
        frame_size: Side of the new frame in pixels.

    Returns:
        The network in evaluation mode. A ViT's position embedding is interpolated bicubically and the relative position
        tables of its global blocks linearly; windows and TinyViT have nothing that depends on the size.

    Raises:
        CheckpointError: a size the encoder cannot have.
    """
    network = build(architecture, initialise=False, frame_size=frame_size)
    weights = dict(model.state_dict())
    if isinstance(network.image_encoder, ImageEncoder):
        for name, wanted in network.state_dict().items():
            if weights[name].shape != wanted.shape:
                weights[name] = _resized_position(name, weights[name], wanted)
    network.load_state_dict(weights, strict=True)
    return network


def _resized_position(name: str, weight: Tensor, wanted: Tensor) -> Tensor:
    if name == "image_encoder.pos_embed":
        grid = F.interpolate(weight.permute(0, 3, 1, 2), size=wanted.shape[1:3], mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1)
    if name.endswith((".rel_pos_h", ".rel_pos_w")):
        return resize_table(weight, (len(wanted) + 1) // 2)
    raise CheckpointError(
        f"{name} is {tuple(weight.shape)}",
        expected=f"{tuple(wanted.shape)}",
        fix="give a model of a published architecture",
    )
