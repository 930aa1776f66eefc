"""The TinyViT image encoder of LiteMedSAM: convolution blocks at full size, then windowed attention at 1/2 and 1/4.

Shapes: B batch, N windows, G heads, H rows, W columns, C channels, T tokens.
Source: the layout of the published LiteMedSAM weights (image 256, embedding 64 x 64).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.errors import CheckpointError
from medsam.models.networks.image_encoder import join_windows, pad_to_windows, split_windows
from medsam.models.networks.layers import AttentionPath, init_linear, make_neck


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch norm; keys `c` and `bn`."""

    def __init__(self, channels: int, out: int, kernel: int = 1, *, stride: int = 1, depthwise: bool = False) -> None:
        super().__init__()
        groups = channels if depthwise else 1
        self.add_module("c", nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False))
        self.add_module("bn", nn.BatchNorm2d(out))

    def fuse(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does the same in evaluation."""
        conv, norm = cast(nn.Conv2d, self.c), cast(nn.BatchNorm2d, self.bn)
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        gain = norm.weight / (variance + norm.eps).sqrt()
        return conv.weight * gain[:, None, None, None], norm.bias - mean * gain


class PixelEmbed(nn.Module):
    """Two 1x1 convolutions: LiteMedSAM takes every pixel as a patch; key `seq`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, channels // 2), nn.GELU(), ConvNorm(channels // 2, channels))

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H, W)."""
        return cast(Tensor, self.seq(image_B3HW))


class ConvBlock(nn.Module):
    """Inverted bottleneck: widen, depthwise 3x3, narrow, added to the input."""

    def __init__(self, channels: int, expand: int) -> None:
        super().__init__()
        hidden = channels * expand
        self.conv1 = ConvNorm(channels, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, depthwise=True)
        self.conv3 = ConvNorm(hidden, channels)
        nn.init.zeros_(cast(nn.BatchNorm2d, self.conv3.bn).weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The shape stays."""
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(x_BCHW))))
        return F.gelu(self.conv3(hidden) + x_BCHW)


class Merge(nn.Module):
    """Between two stages: to the next width, and to half the size where stride is 2."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, out)
        self.conv2 = ConvNorm(out, out, 3, stride=stride, depthwise=True)
        self.conv3 = ConvNorm(out, out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H / stride, W / stride)."""
        return cast(Tensor, self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x_BCHW))))))


def number_offsets(window: int) -> Tensor:
    """For each pair of tokens of a window the number of their offset (|rows|, |columns|), (T, T).

    Offsets are numbered in the order in which they are met, row by row from the first token: row offset first.
    """
    place = torch.arange(window, device="cpu")
    row, column = place.repeat_interleave(window), place.repeat(window)
    return (row[:, None] - row).abs() * window + (column[:, None] - column).abs()


class OffsetAttention(nn.Module):
    """Attention in a window with a learnt bias for each offset between query and key."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.path: AttentionPath = "sdpa"

    def bias_table(self) -> Tensor:
        """The bias of each pair of tokens, (G, T, T)."""
        return self.attention_biases[:, number_offsets(self.window).to(self.attention_biases.device)]

    def forward(self, x_NTC: Tensor) -> Tensor:
        """From projected tokens (N, T, 3C) to attended values (N, T, C)."""
        n, t, width = x_NTC.shape
        head_dim = width // (3 * self.heads)
        qkv = x_NTC.reshape(n, t, self.heads, 3 * head_dim).transpose(1, 2)  # each head holds its q, k and v
        q, k, v = torch.tensor_split(qkv, 3, dim=-1)
        bias = self.bias_table().to(qkv.dtype)
        if self.path == "explicit":
            logits = (q * head_dim**-0.5) @ k.transpose(-2, -1) + bias
            out = torch.softmax(logits, dim=-1) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.unsqueeze(0))
        return out.transpose(1, 2).reshape(n, t, self.heads * head_dim)


class NormedMLP(nn.Module):
    """Layer norm and two linear layers; keys `norm`, `fc1`, `fc2`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """The shape stays."""
        return cast(Tensor, self.fc2(F.gelu(self.fc1(self.norm(x_BHWC)))))


class AttentionBlock(nn.Module):
    """Attention in windows, a depthwise 3x3 convolution, an MLP."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = OffsetAttention(channels, heads, window)
        self.mlp = NormedMLP(channels)
        self.local_conv = ConvNorm(channels, channels, 3, depthwise=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The shape stays."""
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        x_BHWC = x_BHWC + self._attended(x_BHWC)
        x_BHWC = self.local_conv(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return cast(Tensor, (x_BHWC + self.mlp(x_BHWC)).permute(0, 3, 1, 2))

    def _attended(self, x_BHWC: Tensor) -> Tensor:
        b, h, w, _ = x_BHWC.shape
        attn = self.attn
        qkv = attn.qkv(attn.norm(x_BHWC))
        # a zero token is normed to the norm's bias, and that is what padding projects to
        padding = attn.qkv(attn.norm.bias)
        qkv = pad_to_windows(qkv, self.window, padding)
        windows = attn(split_windows(qkv, self.window).flatten(1, 2))
        windows = attn.proj(windows).unflatten(1, (self.window, self.window))
        return join_windows(windows, b, qkv.shape[1], qkv.shape[2])[:, :h, :w]


class Stage(nn.Module):
    """Blocks of one size, then the step to the next; keys `blocks` and `downsample`."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: Merge | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Run the blocks, then the step to the next size."""
        for block in self.blocks:
            x_BCHW = block(x_BCHW)
        return x_BCHW if self.downsample is None else cast(Tensor, self.downsample(x_BCHW))


class TinyViT(nn.Module):
    """The TinyViT image encoder in the published layout of keys.

    Args:
        widths: Channels of the four stages; a step to a width of 320 or more keeps the size, the others halve it.
        depths: Blocks of each stage.
        heads: Attention heads of each stage (the first has none).
        windows: Side of a window of each stage.
        image_size: Side of the square input in pixels.
        out_channels: Depth of the embedding.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (2, 4, 5, 10),
        windows: Sequence[int] = (7, 7, 14, 7),
        image_size: int = 256,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.patch_embed = PixelEmbed(widths[0])
        stages = []
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            following = widths[index + 1] if index + 1 < len(widths) else None
            merge = None if following is None else Merge(width, following, stride=1 if following >= 320 else 2)
            blocks = [
                ConvBlock(width, 4) if index == 0 else AttentionBlock(width, heads[index], windows[index])
                for _ in range(depth)
            ]
            stages.append(Stage(blocks, merge))
        self.layers = nn.ModuleList(stages)
        self.apply(init_linear)
        self.neck = make_neck(widths[-1], out_channels)

    def use_attention(self, path: AttentionPath) -> None:
        """Choose "sdpa" or, for graph exporters, "explicit" attention."""
        for module in self.modules():
            if isinstance(module, OffsetAttention):
                module.path = path

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Image in the model frame -> embedding (B, out_channels, H / 4, W / 4)."""
        return self.tail(self.stem(image_B3HW, 1), 1)

    def stem(self, image_B3HW: Tensor, count: int) -> Tensor:
        """What the last `count` stages start from: image in the model frame -> (B, C, H', W')."""
        x_BCHW = self.patch_embed(image_B3HW)
        *before, last = cast("list[Stage]", list(self.layers[:-count]))
        for stage in before:
            x_BCHW = stage(x_BCHW)
        for block in last.blocks:
            x_BCHW = block(x_BCHW)
        return cast(Tensor, x_BCHW)

    def tail(self, x_BCHW: Tensor, count: int) -> Tensor:
        """The last `count` stages, with the step into them and the neck: output of stem -> embedding."""
        for module in self.tail_parts(count):
            x_BCHW = module(x_BCHW)
        return x_BCHW

    def tail_parts(self, count: int) -> list[nn.Module]:
        """What tail runs, in order.

        Raises:
            CheckpointError: not a number of stages that leaves a stage before them.
        """
        if not 0 < count < len(self.layers):
            raise CheckpointError(
                f"a tail of {count} stages", expected=f"1 to {len(self.layers) - 1}", fix="correct the number"
            )
        before = cast(Stage, self.layers[-count - 1])
        return [cast(Merge, before.downsample), *self.layers[-count:], self.neck]
