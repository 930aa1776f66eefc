"""SAM's ViT image encoder (B, L and H): windowed and global attention with decomposed relative positions.

Shapes: B batch, N windows (or batch), G heads, H rows, W columns, C channels, T tokens, D channels of a head.
Source: paper, Fig. 2b and Methods "Network architecture"; the layout of the released SAM weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.errors import CheckpointError
from medsam.models.networks.layers import AttentionPath, TokenMLP, init_linear, make_neck


def resize_table(table_LD: Tensor, size: int) -> Tensor:
    """A relative position table for `size` tokens, (2 * size - 1, D); resized linearly if learnt for another size."""
    if table_LD.shape[0] == 2 * size - 1:
        return table_LD
    return F.interpolate(table_LD.t().unsqueeze(0), size=2 * size - 1, mode="linear").squeeze(0).t()


def lay_out_table(table_LD: Tensor, size: int) -> Tensor:
    """Lay a relative position table out as (query, key, D) for one axis of `size` tokens."""
    position = torch.arange(size, device=table_LD.device)
    return resize_table(table_LD, size)[position[:, None] - position[None, :] + (size - 1)]


class WindowAttention(nn.Module):
    """Multi-head self-attention over a rectangle of tokens, biased by the relative row and column of query and key.

    `path` "sdpa" hands the bias to scaled_dot_product_attention as its mask; "explicit" writes the products out, which
    is what graph exporters understand. `query_rows` bounds the memory: that many rows of queries are attended at once.
    """

    def __init__(self, channels: int, heads: int, table_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * table_size - 1, channels // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * table_size - 1, channels // heads))
        self.path: AttentionPath = "sdpa"
        self.query_rows: int | None = None

    def attend(self, qkv_NHWE: Tensor) -> Tensor:
        """From projected queries, keys and values (E = 3C) to attended values in the same rectangle, (N, H, W, C)."""
        n, h, w, width = qkv_NHWE.shape
        head_dim = width // (3 * self.heads)
        qkv = qkv_NHWE.reshape(n, h * w, 3, self.heads, head_dim).permute(2, 0, 3, 1, 4)
        q_NGTD, k_NGTD, v_NGTD = qkv.unbind(0)
        table_h = lay_out_table(self.rel_pos_h, h).to(qkv.dtype)
        table_w = lay_out_table(self.rel_pos_w, w).to(qkv.dtype)
        rows = h if self.query_rows is None or torch.is_grad_enabled() else self.query_rows
        parts = []
        for top in range(0, h, rows):
            q_part = q_NGTD[:, :, top * w : (top + rows) * w]
            bias = self._bias(q_part, table_h[top : top + rows], table_w)
            parts.append(self._product(q_part, k_NGTD, v_NGTD, bias))
        out_NGTD = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        return out_NGTD.transpose(1, 2).reshape(n, h, w, self.heads * head_dim)

    def _bias(self, q_NGTD: Tensor, table_h: Tensor, table_w: Tensor) -> Tensor:
        n, heads, _, head_dim = q_NGTD.shape
        rows, h = table_h.shape[:2]
        w = table_w.shape[0]
        q_NGHWD = q_NGTD.reshape(n, heads, rows, w, head_dim)
        bias_h = q_NGHWD @ table_h.transpose(1, 2)  # (N, G, rows, W, H keys)
        bias_w = (q_NGHWD.transpose(2, 3) @ table_w.transpose(1, 2)).transpose(2, 3)  # (N, G, rows, W, W keys)
        bias = bias_h.unsqueeze(-1) + bias_w.unsqueeze(-2)
        return bias.reshape(n, heads, rows * w, h * w)

    def _product(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        if self.path == "explicit":
            logits = (q * self.scale) @ k.transpose(-2, -1) + bias
            return torch.softmax(logits, dim=-1) @ v
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)


class Block(nn.Module):
    """One transformer block; `window` 0 attends over the whole image, otherwise over windows of that side."""

    def __init__(self, channels: int, heads: int, *, window: int, grid: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = WindowAttention(channels, heads, table_size=window or grid)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = TokenMLP(channels, 4 * channels)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """Attention, then the MLP, each added to its input."""
        normed = self.norm1(x_BHWC)
        attended = self._windowed(normed) if self.window else self.attn.attend(self.attn.qkv(normed))
        x_BHWC = x_BHWC + self.attn.proj(attended)
        return cast(Tensor, x_BHWC + self.mlp(self.norm2(x_BHWC)))

    def _windowed(self, x_BHWC: Tensor) -> Tensor:
        qkv = pad_to_windows(self.attn.qkv(x_BHWC), self.window, self.attn.qkv.bias)
        windows = split_windows(qkv, self.window)
        attended = join_windows(self.attn.attend(windows), x_BHWC.shape[0], qkv.shape[1], qkv.shape[2])
        return attended[:, : x_BHWC.shape[1], : x_BHWC.shape[2]]


def pad_to_windows(x_BHWC: Tensor, window: int, value_C: Tensor) -> Tensor:
    """Pad bottom and right to whole windows with one value a channel.

    The published model pads zeros in front of the projection; a zero token projects to the bias, so padding the
    projected tokens with the bias is the same and projects the real tokens only.
    """
    b, h, w, c = x_BHWC.shape
    height, width = -(-h // window) * window, -(-w // window) * window
    if (height, width) == (h, w):
        return x_BHWC
    value = value_C.to(x_BHWC.dtype)
    right = value.expand(b, h, width - w, c)
    bottom = value.expand(b, height - h, width, c)
    return torch.cat([torch.cat([x_BHWC, right], dim=2), bottom], dim=1)


def split_windows(x_BHWC: Tensor, window: int) -> Tensor:
    """(B, H, W, C) -> (B * windows, window, window, C); the sides must be whole windows."""
    b, h, w, c = x_BHWC.shape
    x = x_BHWC.reshape(b, h // window, window, w // window, window, c).transpose(2, 3)
    return x.reshape(-1, window, window, c)


def join_windows(x_NHWC: Tensor, batch: int, height: int, width: int) -> Tensor:
    """The inverse of split_windows: (B * windows, window, window, C) -> (B, height, width, C)."""
    window, c = x_NHWC.shape[1], x_NHWC.shape[3]
    x = x_NHWC.reshape(batch, height // window, width // window, window, window, c).transpose(2, 3)
    return x.reshape(batch, height, width, c)


class PatchEmbed(nn.Module):
    """Cut the image into patches and project each to a token; key `proj`."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, kernel_size=patch, stride=patch)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / patch, W / patch, C)."""
        return cast(Tensor, self.proj(image_B3HW).permute(0, 2, 3, 1))


class ImageEncoder(nn.Module):
    """The ViT image encoder in the published layout of keys.

    Args:
        channels: Width of a token (768 for B, 1024 for L, 1280 for H).
        depth: Number of blocks.
        heads: Attention heads of a block.
        global_blocks: Blocks that attend over the whole image; the others over windows.
        image_size: Side of the square input in pixels.
        patch: Side of a patch in pixels.
        window: Side of a window in tokens.
        out_channels: Depth of the embedding.
    """

    def __init__(
        self,
        *,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        global_blocks: Sequence[int] = (2, 5, 8, 11),
        image_size: int = 1024,
        patch: int = 16,
        window: int = 14,
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        grid = image_size // patch
        self.patch_embed = PatchEmbed(channels, patch)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, channels))
        self.blocks = nn.ModuleList(
            Block(channels, heads, window=0 if index in global_blocks else window, grid=grid) for index in range(depth)
        )
        self.neck = make_neck(channels, out_channels)
        self.apply(init_linear)
        nn.init.normal_(self.pos_embed, std=0.02)
        self.use_attention("sdpa")

    def use_attention(self, path: AttentionPath, *, query_rows: int | None = 8) -> None:
        """Choose the attention path of all blocks; global blocks attend `query_rows` rows of queries at once."""
        for block in self.blocks:
            attn = cast(Block, block).attn
            attn.path = path
            attn.query_rows = None if cast(Block, block).window else query_rows

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Image in the model frame -> embedding (B, out_channels, H / patch, W / patch)."""
        return self.tail(self.stem(image_B3HW, 1), 1)

    def stem(self, image_B3HW: Tensor, count: int) -> Tensor:
        """What the last `count` blocks start from: image in the model frame -> tokens (B, C, H / patch, W / patch)."""
        x_BHWC = self.patch_embed(image_B3HW) + self.pos_embed
        for block in self.blocks[:-count]:
            x_BHWC = block(x_BHWC)
        return cast(Tensor, x_BHWC.permute(0, 3, 1, 2))

    def tail(self, x_BCHW: Tensor, count: int) -> Tensor:
        """The last `count` blocks and the neck: output of stem -> embedding."""
        *blocks, neck = self.tail_parts(count)
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        for block in blocks:
            x_BHWC = block(x_BHWC)
        return cast(Tensor, neck(x_BHWC.permute(0, 3, 1, 2)))

    def tail_parts(self, count: int) -> list[nn.Module]:
        """What tail runs, in order.

        Raises:
            CheckpointError: there are not so many.
        """
        if not 0 < count <= len(self.blocks):
            raise CheckpointError(
                f"a tail of {count} blocks", expected=f"1 to {len(self.blocks)}", fix="correct the number"
            )
        return [*self.blocks[-count:], self.neck]
