"""The TinyViT encoder rearranged for inference on a CPU: batch norms folded away, activations in the same pass as the
products, convolution blocks on strips of rows that stay in the cache, attention biases laid out once.

Shapes: B batch, H rows, W columns, C channels, G heads, T tokens, D channels of a head.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.models.networks.fast.image_encoder import Norm
from medsam.models.networks.fast.onednn import PackedConv, PackedLinear
from medsam.models.networks.image_encoder import join_windows, pad_to_windows, split_windows
from medsam.models.networks.layers import LayerNorm2d
from medsam.models.networks.tiny_vit import AttentionBlock, ConvBlock, ConvNorm, Merge, Stage, TinyViT

STRIP_ROWS = 16  # of the convolution blocks
STRIP_TOKENS = 1024


def _pointwise(layer: ConvNorm) -> PackedLinear:
    weight, bias = layer.fuse()
    return PackedLinear(weight.flatten(1), bias)


def _depthwise(layer: ConvNorm, *, pad_rows: bool) -> PackedConv:
    weight, bias = layer.fuse()
    stride = cast(nn.Conv2d, layer.c).stride[0]
    return PackedConv(weight, bias, stride=stride, padding=(1 if pad_rows else 0, 1), groups=len(weight))


def _convolve(conv: PackedConv, x_BHWC: Tensor, activation: str = "none") -> Tensor:
    out = conv(x_BHWC.permute(0, 3, 1, 2), "gelu" if activation == "gelu" else "none")
    return out.permute(0, 2, 3, 1)


class FusedBottleneck:
    """Widen, depthwise 3x3, narrow, on strips of rows; serves the convolution blocks and the steps between stages."""

    def __init__(self, block: ConvBlock | Merge) -> None:
        self.residual = isinstance(block, ConvBlock)
        self.stride = cast(nn.Conv2d, block.conv2.c).stride[0]
        self.widen, self.narrow = _pointwise(block.conv1), _pointwise(block.conv3)
        self.depthwise = _depthwise(block.conv2, pad_rows=False)

    def __call__(self, x_BHWC: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H / stride, W / stride, out)."""
        h = x_BHWC.shape[1]
        return torch.cat([self._strip(x_BHWC, top, min(top + STRIP_ROWS, h)) for top in range(0, h, STRIP_ROWS)], dim=1)

    def _strip(self, x_BHWC: Tensor, top: int, bottom: int) -> Tensor:
        h = x_BHWC.shape[1]
        hidden = self.widen(x_BHWC[:, max(top - 1, 0) : bottom + 1], "gelu")
        # the convolution pads what conv1 gives, not what it gets, with zeros
        hidden = F.pad(hidden, (0, 0, 0, 0, int(top == 0), int(bottom == h))) if top == 0 or bottom == h else hidden
        narrow = self.narrow(_convolve(self.depthwise, hidden, "gelu"))
        if not self.residual:
            return narrow
        narrow += x_BHWC[:, top:bottom]
        return F.gelu(narrow)


class FusedAttentionBlock:
    """Attention in windows, depthwise 3x3 convolution, MLP."""

    def __init__(self, block: AttentionBlock) -> None:
        attn, mlp = block.attn, block.mlp
        self.window, self.heads = block.window, attn.heads
        self.norm, self.mlp_norm = Norm(attn.norm), Norm(mlp.norm)
        self.padding = attn.qkv(attn.norm.bias).detach()
        self.qkv = PackedLinear(attn.qkv.weight, attn.qkv.bias)
        self.proj = PackedLinear(attn.proj.weight, attn.proj.bias)
        self.bias_1GTT = attn.bias_table().detach().unsqueeze(0)
        self.local = _depthwise(block.local_conv, pad_rows=True)
        self.fc1 = PackedLinear(mlp.fc1.weight, mlp.fc1.bias)
        self.fc2 = PackedLinear(mlp.fc2.weight, mlp.fc2.bias)

    def __call__(self, x_BHWC: Tensor) -> Tensor:
        """The shape stays; the input is overwritten."""
        _, h, w, c = x_BHWC.shape
        rows = self.window * max(1, STRIP_TOKENS // (self.window * w))  # whole windows
        for top in range(0, h, rows):
            strip = x_BHWC[:, top : top + rows]
            strip += self.proj(self._attended(strip))
        x_BHWC = _convolve(self.local, x_BHWC).contiguous()
        for tokens_TC in torch.split(x_BHWC.view(-1, c), STRIP_TOKENS):
            tokens_TC.add_(self.fc2(self.fc1(self.mlp_norm(tokens_TC), "gelu")))
        return x_BHWC

    def _attended(self, x_BHWC: Tensor) -> Tensor:
        b, h, w, c = x_BHWC.shape
        qkv = pad_to_windows(self.qkv(self.norm(x_BHWC)), self.window, self.padding)
        windows = split_windows(qkv, self.window).reshape(-1, self.window**2, self.heads, 3 * c // self.heads)
        q, k, v = torch.tensor_split(windows.transpose(1, 2), 3, dim=-1)  # each (N, G, T, D)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias_1GTT)
        out = out.transpose(1, 2).reshape(-1, self.window, self.window, c)
        return join_windows(out, b, qkv.shape[1], qkv.shape[2])[:, :h, :w].contiguous()


class FusedTinyViT(nn.Module):
    """What TinyViT computes, for inference; holds copies of the weights, not the published keys."""

    def __init__(self, encoder: TinyViT) -> None:
        super().__init__()
        self.image_size = encoder.image_size
        first, _, second = encoder.patch_embed.seq
        self.patch = [_pointwise(cast(ConvNorm, first)), _pointwise(cast(ConvNorm, second))]
        self.blocks: list[FusedBottleneck | FusedAttentionBlock] = []
        self.starts: list[int] = []  # where the blocks of each stage begin
        for module in encoder.layers:
            stage = cast(Stage, module)
            self.starts.append(len(self.blocks))
            for block in (*stage.blocks, *(() if stage.downsample is None else (stage.downsample,))):
                fused = FusedAttentionBlock if isinstance(block, AttentionBlock) else FusedBottleneck
                self.blocks.append(fused(block))
        narrow, norm1, conv, norm2 = encoder.neck
        self.narrow = PackedLinear(cast(Tensor, narrow.weight).flatten(1))
        self.conv = PackedConv(cast(Tensor, conv.weight), None, padding=(1, 1))
        self.norm1, self.norm2 = Norm(cast(LayerNorm2d, norm1)), Norm(cast(LayerNorm2d, norm2))

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Image in the model frame -> embedding (B, C, H / 4, W / 4)."""
        x_BHWC = self._through(image_B3HW, len(self.blocks))
        x_BHWC = _convolve(self.conv, self.norm1(self.narrow(x_BHWC)))
        return self.norm2(x_BHWC).permute(0, 3, 1, 2).contiguous()

    def stem(self, image_B3HW: Tensor, count: int) -> Tensor:
        """As TinyViT.stem."""
        return self._through(image_B3HW, self.starts[-count] - 1).permute(0, 3, 1, 2)

    def _through(self, image_B3HW: Tensor, blocks: int) -> Tensor:
        x_BHWC = image_B3HW.float().permute(0, 2, 3, 1).contiguous()
        x_BHWC = self.patch[1](self.patch[0](x_BHWC, "gelu"))
        for block in self.blocks[:blocks]:
            x_BHWC = block(x_BHWC)
        return x_BHWC
