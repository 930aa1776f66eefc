"""A narrower and shallower TinyViT that starts from a part of a larger one instead of from random weights.

Source: Xu et al., "Initializing Models with Larger Ones" (ICLR 2024), weight selection, with whole heads kept.
"""

from __future__ import annotations

import re
from typing import cast

import torch
from torch import Tensor, nn

from medsam.errors import DataError
from medsam.models.networks.tiny_vit import AttentionBlock, ConvBlock, Stage, TinyViT

BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.")


@torch.no_grad()
def inherit_weights(student: TinyViT, teacher: nn.Module) -> None:
    """Fill a student with every so-many-th block, head and channel of its teacher.

    The same channels are kept wherever a stage adds to its input. Statistics of batch norms come along, and should be
    taken anew (distillation.calibrate_batch_norms), since sums have fewer terms.

    Args:
        student: Filled in place.
        teacher: A TinyViT with as many stages, at least as many blocks, channels and heads in each, heads of the same
            size and the same windows.

    Raises:
        DataError: it is none.
    """
    if not isinstance(teacher, TinyViT) or not _fits(_shape(student), _shape(teacher)):
        raise DataError(
            'student_start = "base" with a base whose encoder is no larger TinyViT',
            expected="a TinyViT of at least the student's blocks, channels and heads",
            fix='set student_start = "random", or choose a base like lite-medsam',
        )
    theirs = teacher.state_dict()
    depths = {stage: len(cast(Stage, module).blocks) for stage, module in enumerate(teacher.layers)}
    own_depths = {stage: len(cast(Stage, module).blocks) for stage, module in enumerate(student.layers)}

    def source(name: str) -> str:
        found = BLOCK.match(name)
        if found is None:
            return name
        stage, block = int(found[1]), int(found[2])
        taken = int(spread_evenly(depths[stage], own_depths[stage])[block])
        return f"layers.{stage}.blocks.{taken}.{name[found.end() :]}"

    for name, tensor in student.state_dict().items():
        tensor.copy_(_part(theirs[source(name)], tensor.shape, _head_size(student, name), name))


def spread_evenly(count: int, wanted: int) -> Tensor:
    """`wanted` of `count` numbers, as evenly as whole numbers allow, the first always among them."""
    return torch.arange(wanted) * count // wanted


def _part(tensor: Tensor, shape: torch.Size, head_size: int, name: str) -> Tensor:
    """Of each dimension as many as the student has; of the rows of q, k and v, and of what they become, whole heads."""
    for dim, wanted in enumerate(shape):
        step = 1
        if ".attn.qkv." in name and dim == 0:
            step = 3 * head_size  # the q, k and v of a head lie together
        elif ".attn.proj.weight" in name and dim == 1:
            step = head_size
        first = spread_evenly(tensor.shape[dim] // step, wanted // step)
        index = (first[:, None] * step + torch.arange(step)).flatten()
        tensor = tensor.index_select(dim, index.to(tensor.device))
    return tensor


def _head_size(encoder: TinyViT, name: str) -> int:
    found = BLOCK.match(name)
    block = None if found is None else cast(Stage, encoder.layers[int(found[1])]).blocks[int(found[2])]
    return len(block.attn.proj.bias) // block.attn.heads if isinstance(block, AttentionBlock) else 1


def _shape(encoder: TinyViT) -> list[tuple[int, int, int, int, int]]:
    """Of each stage its blocks, channels, heads, their size and the window; 0 where it has no attention."""
    shape = []
    for module in encoder.layers:
        blocks = cast(Stage, module).blocks
        block = blocks[0]
        if isinstance(block, AttentionBlock):
            width = len(block.attn.proj.bias)
            shape.append((len(blocks), width, block.attn.heads, width // block.attn.heads, block.window))
        else:
            shape.append((len(blocks), cast(nn.Conv2d, cast(ConvBlock, block).conv3.c).out_channels, 0, 0, 0))
    return shape


def _fits(own: list[tuple[int, int, int, int, int]], theirs: list[tuple[int, int, int, int, int]]) -> bool:
    return len(own) == len(theirs) and all(
        all(a <= b for a, b in zip(mine[:3], other[:3], strict=True)) and mine[3:] == other[3:]
        for mine, other in zip(own, theirs, strict=True)
    )
