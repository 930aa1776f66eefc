"""Which weights of a model learn, and whether its blocks are computed twice or compiled."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import BOTTOM_RIGHT, NEGATIVE, POSITIVE, TOP_LEFT, PromptEncoder
from medsam.models.networks.tiny_vit import Stage, TinyViT
from medsam.training.config import TrainConfig
from medsam.training.learner.frozen_features import require_encoder
from medsam.training.learner.low_rank import add_updates

COMPILED = 128  # most versions of a block's code
AMBIGUOUS = (1, 2, 3)  # mask tokens for ambiguous prompts, which a box never asks for


def set_trainable(model: MedSAM, config: TrainConfig) -> MedSAM:
    """Set what learns, in place; the model stays in evaluation mode, so that batch norm keeps its statistics.

    The prompt encoder is frozen, unless it is to learn what the prompts use of it. The hypernetworks of ambiguous
    prompts get no gradient from one mask a prompt and are frozen too, and so is the quality head unless it has a weight
    in the loss. With a student nothing but its encoder learns.

    Source: paper, Methods, "Training protocol".
    """
    model.eval().requires_grad_(False)
    if config.student:
        model.image_encoder.requires_grad_(True)
        return _arrange_blocks(model, config)
    model.mask_decoder.requires_grad_(True)
    heads = cast(nn.ModuleList, model.mask_decoder.output_hypernetworks_mlps)
    for index in AMBIGUOUS:
        heads[index].requires_grad_(False)
    cast(nn.Module, model.mask_decoder.iou_prediction_head).requires_grad_(config.quality_weight > 0)
    if config.prompt_encoder == "full":
        for part in _prompt_parts(model.prompt_encoder, config):
            part.requires_grad_(True)
    if config.encoder == "full":
        model.image_encoder.requires_grad_(True)
    elif config.encoder == "lora":
        add_updates(model.image_encoder, config.lora_rank)
    elif config.encoder == "tail":
        for part in require_encoder(model).tail_parts(config.tail):
            part.requires_grad_(True)
    return _arrange_blocks(model, config)


def _arrange_blocks(model: MedSAM, config: TrainConfig) -> MedSAM:
    if config.checkpoint_activations:
        _compute_twice(model.image_encoder)
    if config.compile:
        # blocks of one class share this limit, and each kind of block, size of batch and use is compiled by itself
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, COMPILED)
        for block in list_blocks(model.image_encoder):
            block.compile(dynamic=False)  # frames and micro-batches are of one size; the last may be smaller
    return model


def _prompt_parts(encoder: PromptEncoder, config: TrainConfig) -> list[nn.Module]:
    """What the prompts of a run use of the prompt encoder; weights without a use would only decay."""
    parts: list[nn.Module] = [encoder.no_mask_embed]
    learnt = config.learnt_prompts
    kinds = {
        TOP_LEFT: "box" in learnt,
        BOTTOM_RIGHT: "box" in learnt,
        POSITIVE: "point" in learnt,
        NEGATIVE: config.corrections > 0 or config.clicks > 1,
    }
    parts += [encoder.point_embeddings[kind] for kind, used in kinds.items() if used]
    if "point" in learnt:
        parts.append(encoder.not_a_point_embed)
    if "mask" in learnt:
        parts.append(encoder.mask_downscaling)
    return parts


def _compute_twice(encoder: nn.Module) -> None:
    """Drop the activations of each block and compute them again in the backward pass."""
    for block in list_blocks(encoder):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def list_blocks(encoder: nn.Module) -> list[nn.Module]:
    """List the blocks of a ViT or TinyViT and the steps between stages, from the input on, as every pass calls them."""
    if isinstance(encoder, ImageEncoder):
        return list(encoder.blocks)
    if not isinstance(encoder, TinyViT):
        return []
    stages = [cast(Stage, stage) for stage in encoder.layers]
    return [part for stage in stages for part in (*stage.blocks, stage.downsample) if part is not None]


def list_trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
