"""Linear layers and convolutions with weights laid out once for the processor's matrix library (oneDNN).

For inference on a CPU. The same arithmetic as the plain layers in float32, about twice as fast where the default
matrix library is slow; on a build of torch without oneDNN, where torch.backends.mkldnn is switched off, and in bfloat16
on a processor without it, the plain layers are used.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = Literal["none", "gelu", "relu"]


def can_pack(dtype: torch.dtype = torch.float32) -> bool:
    """Whether this build of torch has the packed layers switched on, and this processor has them in `dtype`.

    In bfloat16 oneDNN asks for AVX-512 (or AVX-NE-CONVERT) and raises without.
    """
    return bool(torch.backends.mkldnn.enabled) and _has_packed(dtype)


@cache
def _has_packed(dtype: torch.dtype) -> bool:
    mkldnn = torch.ops.mkldnn
    names = ("_linear_pointwise", "_reorder_linear_weight", "_convolution_pointwise")
    if not torch._C._has_mkldnn or not all(hasattr(mkldnn, name) for name in names):
        return False
    return dtype != torch.bfloat16 or bool(mkldnn._is_mkldnn_bf16_supported())


class PackedLinear:
    """x @ weight.T + bias, then an activation in the same pass.

    Args:
        weight_OI: (out, in).
        bias_O: (out,) or None.
        rows: How many rows a call will have, about; a hint for the layout.
    """

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None = None, *, rows: int = 1024) -> None:
        weight = weight_OI.detach().contiguous()
        self.bias = None if bias_O is None else bias_O.detach().to(weight.dtype).contiguous()
        self.packs = can_pack(weight.dtype)
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows) if self.packs else weight

    def __call__(self, x: Tensor, activation: Activation = "none") -> Tensor:
        """(..., in) -> (..., out)."""
        if self.packs:
            op = torch.ops.mkldnn._linear_pointwise
            return cast(Tensor, op(x, self.weight, self.bias, activation, [], "none"))
        out = F.linear(x, self.weight, self.bias)
        return F.gelu(out) if activation == "gelu" else F.relu(out) if activation == "relu" else out

    @staticmethod
    def once(a_RC: Tensor, b_SC: Tensor) -> Tensor:
        """a @ b.T where neither side is used again."""
        if can_pack(a_RC.dtype):
            return cast(Tensor, torch.ops.mkldnn._linear_pointwise(a_RC, b_SC.contiguous(), None, "none", [], "none"))
        return F.linear(a_RC, b_SC)


def can_pack_int8() -> bool:
    """Whether this build of torch has the 8-bit products of oneDNN."""
    return can_pack() and all(hasattr(torch.ops.onednn, name) for name in ("qlinear_prepack", "qlinear_pointwise"))


class Int8Linear:
    """A linear layer in 8-bit integers: weights scaled for each output, input for each call by its own range.

    Nothing has to be calibrated. Fast on processors with 8-bit dot products (VNNI).

    Args:
        weight_OI: (out, in) float32.
        bias_O: (out,) float32 or None.
        rows: How many rows a call will have, about.
    """

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None = None, *, rows: int = 1024) -> None:
        weight = weight_OI.detach().float()
        self.scale_O = weight.abs().amax(dim=1).clamp_min(1e-12) / 127
        rounded = (weight / self.scale_O[:, None]).round_().to(torch.int8)
        self.zeros_O = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = None if bias_O is None else bias_O.detach().float()
        self.weight: Tensor = torch.ops.onednn.qlinear_prepack(rounded, [rows, weight.shape[1]])

    def __call__(self, x: Tensor, activation: Activation = "none") -> Tensor:
        """(..., in) -> (..., out), float32 on both sides."""
        rows = x.reshape(-1, x.shape[-1])
        low, high = (float(end) for end in torch.aminmax(rows))
        scale = max(max(high, 0.0) - min(low, 0.0), 1e-12) / 255
        zero = round(-min(low, 0.0) / scale)
        levels = rows.mul(1 / scale).add_(zero + 0.5).clamp_(0, 255).to(torch.uint8)  # cut off, so rounded
        out = torch.ops.onednn.qlinear_pointwise(
            levels, scale, zero, self.weight, self.scale_O, self.zeros_O, self.bias, 1.0, 0, torch.float32,
            activation, [], "none" if activation == "gelu" else "",
        )  # fmt: skip
        return cast(Tensor, out).view(*x.shape[:-1], -1)


class PackedConv:
    """A convolution over images in channels-last memory, then an activation in the same pass."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> None:
        self.weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().contiguous()
        self.stride, self.padding, self.groups = stride, list(padding), groups
        self.packs = can_pack()

    def __call__(self, x_BCHW: Tensor, activation: Activation = "none") -> Tensor:
        """(B, in, H, W) -> (B, out, H', W'), channels last."""
        stride = [self.stride, self.stride]
        if self.packs:
            op = torch.ops.mkldnn._convolution_pointwise
            geometry = (self.padding, stride, [1, 1], self.groups)
            return cast(Tensor, op(x_BCHW, self.weight, self.bias, *geometry, activation, [], "none"))
        out = F.conv2d(x_BCHW, self.weight, self.bias, stride, self.padding, groups=self.groups)
        return F.gelu(out) if activation == "gelu" else F.relu(out) if activation == "relu" else out
