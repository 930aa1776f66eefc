"""Which weights learn, and how: frozen parts, low-rank updates, a running average, blocks computed twice or compiled."""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from medsam.errors import MissingDependencyError
from medsam.models.image_encoder import ImageEncoder
from medsam.models.medsam import MedSAM
from medsam.models.prompt_encoder import BOTTOM_RIGHT, NEGATIVE, POSITIVE, TOP_LEFT, PromptEncoder
from medsam.models.tiny_vit import Stage, TinyViT
from medsam.training.config import TrainConfig
from medsam.training.features import encoder_of

ADAPTED = ("qkv", "proj")  # the linear layers of attention
COMPILED = 128  # most versions of a block's code
AMBIGUOUS = (1, 2, 3)  # mask tokens for ambiguous prompts, which a box never asks for


def require_compiler(device: torch.device) -> None:
    """Refuse a compiled run where there is nothing to compile with.

    Raises:
        MissingDependencyError: torch.compile would find no compiler of C++, or on CUDA no Triton.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    if shutil.which(name) is None:
        raise MissingDependencyError(
            f"the recipe says compile = true and there is no {name}",
            expected="a compiler of C++: the one that CXX names, or else g++ (macOS: clang++, Windows: cl)",
            fix="install it (Debian: apt-get install g++) or leave compile out",
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise MissingDependencyError(
            "the recipe says compile = true and Triton is not installed",
            expected="triton, which torch.compile needs on CUDA",
            fix="run pip install triton, or leave compile out",
        )


class LowRank(nn.Module):
    """A linear layer's weight plus the product of two thin matrices, zero at first; keys `down`, `up`."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        generator = torch.Generator().manual_seed(rows * 65_537 + columns)
        self.down = nn.Parameter((torch.randn(rank, columns, generator=generator) / columns**0.5).to(weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """(rows, columns) -> the same."""
        return weight + self.up @ self.down


def prepare(model: MedSAM, config: TrainConfig) -> MedSAM:
    """Set what learns, in place; the model stays in evaluation mode, so that batch norm keeps its statistics.

    The prompt encoder is frozen, unless it is to learn what the prompts use of it. The hypernetworks of ambiguous
    prompts get no gradient from one mask a prompt and are frozen too, and so is the quality head unless it has a weight
    in the loss. With a student nothing but its encoder learns.

    Source: paper, Methods, "Training protocol".
    """
    model.eval().requires_grad_(False)
    if config.student:
        model.image_encoder.requires_grad_(True)
        return _arranged(model, config)
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
        _adapt(model.image_encoder, config.lora_rank)
    elif config.encoder == "tail":
        for part in encoder_of(model).tail_parts(config.tail):
            part.requires_grad_(True)
    return _arranged(model, config)


def _arranged(model: MedSAM, config: TrainConfig) -> MedSAM:
    if config.checkpoint_activations:
        _compute_twice(model.image_encoder)
    if config.compile:
        # blocks of one class share this limit, and each kind of block, size of batch and use is compiled by itself
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, COMPILED)
        for block in blocks_of(model.image_encoder):
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


def _adapt(encoder: nn.Module, rank: int) -> None:
    layers = [
        (name, layer)
        for name, layer in encoder.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] in ADAPTED
    ]
    for _, layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank), unsafe=True)
        layer.parametrizations.weight.original.requires_grad_(False)  # type: ignore[union-attr] # made by the line above


def _compute_twice(encoder: nn.Module) -> None:
    """Drop the activations of each block and compute them again in the backward pass."""
    for block in blocks_of(encoder):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def blocks_of(encoder: nn.Module) -> list[nn.Module]:
    """The blocks of a ViT or TinyViT and the steps between stages, from the input on: what every pass calls one by one."""
    if isinstance(encoder, ImageEncoder):
        return list(encoder.blocks)
    if not isinstance(encoder, TinyViT):
        return []
    stages = [cast(Stage, stage) for stage in encoder.layers]
    return [part for stage in stages for part in (*stage.blocks, stage.downsample) if part is not None]


def learning(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def plain(model: MedSAM) -> MedSAM:
    """A copy with low-rank updates folded into the weights they belong to: what is saved and served."""
    network = copy.deepcopy(model)
    adapted = [name for name, module in network.named_modules() if parametrize.is_parametrized(module)]
    for name in adapted:
        old = cast(nn.Linear, network.get_submodule(name))
        new = nn.Linear(old.in_features, old.out_features, bias=old.bias is not None, device=old.weight.device)
        with torch.no_grad():
            new.weight.copy_(old.weight)
            new.bias.copy_(old.bias)
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, new)
    return network


class Average:
    """A running average of the weights that learn.

    Args:
        model: Its weights now are the start.
        decay: Share of the average that stays at each step; smaller in the first steps, so that the start fades.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: parameter.detach().clone() for name, parameter in learning(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in learning(model).items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        own = {name: parameter.detach().clone() for name, parameter in learning(model).items()}
        _set(model, self.values)
        try:
            yield
        finally:
            _set(model, own)


@torch.no_grad()
def _set(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, parameter in learning(model).items():
        parameter.copy_(values[name])
