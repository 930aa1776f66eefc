"""AdamW over what learns: one group, or one for each depth of the encoder where rates decay towards its input."""

from __future__ import annotations

import math
import re

from torch import nn
from torch.optim import AdamW, Optimizer

from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.tiny_vit import TinyViT
from medsam.training.config import TrainConfig
from medsam.training.learner.trainable import list_trainable

SCALE = "scale"  # of a group's learning rate
_PLACE = re.compile(r"image_encoder\.(?:blocks|layers)\.(\d+)\.")
_INPUT = ("image_encoder.patch_embed.", "image_encoder.pos_embed")


def make_optimizer(model: MedSAM, config: TrainConfig) -> Optimizer:
    """AdamW with the rates and decays of a configuration.

    Args:
        model: Prepared, and shared among processes where it is to be: the optimizer holds its parameters.
        config: Of the run.

    Source: paper, Methods, "Training protocol" (AdamW); layer_decay as in BEiT, arXiv:2106.08254, section 3.
    """
    return AdamW(
        group_parameters(model, config.layer_decay),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )


def group_parameters(model: MedSAM, decay: float) -> list[dict[str, object]]:
    """Parameter groups with the share of the learning rate that each gets, from the input on.

    Args:
        model: Prepared.
        decay: 1 makes one group of everything.
    """
    parameters = list_trainable(model)
    if decay == 1:
        return [{"params": list(parameters.values()), SCALE: 1.0}]
    top = _levels(model.image_encoder) + 1
    by_depth: dict[int, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        by_depth.setdefault(_depth(name, top), []).append(parameter)
    return [{"params": some, SCALE: decay ** (top - depth)} for depth, some in sorted(by_depth.items())]


def _levels(encoder: nn.Module) -> int:
    """Blocks of a ViT, stages of a TinyViT."""
    if isinstance(encoder, ImageEncoder):
        return len(encoder.blocks)
    return len(encoder.layers) if isinstance(encoder, TinyViT) else 0


def _depth(name: str, top: int) -> int:
    """0 at the encoder's input, 1 in its first block or stage; its neck and the decoder are the top."""
    if name.startswith(_INPUT):
        return 0
    found = _PLACE.match(name)
    return int(found[1]) + 1 if found else top


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate; a checkpoint from before there were shares has whole ones."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(SCALE, 1.0)


def compute_learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """The rate of a step, counted from 0."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
