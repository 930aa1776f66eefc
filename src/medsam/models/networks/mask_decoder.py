"""SAM's mask decoder: a two-way transformer between prompt tokens and image tokens, then masks by hypernetworks.

Shapes: N prompts, B images (1, or N for one image a prompt), T tokens, I image tokens, C channels, G heads, M masks.
Image tokens stay un-repeated (B = 1) until a prompt has changed them, so the first layer projects them once.
"""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.models.networks.layers import AttentionPath, LayerNorm2d, TokenMLP

MASKS = 4  # one for clear prompts, three for ambiguous ones


class TokenAttention(nn.Module):
    """Multi-head attention whose inner width may be smaller; keys `q_proj`, `k_proj`, `v_proj`, `out_proj`."""

    def __init__(self, channels: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        self.heads = heads
        inner = channels // downsample
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)
        self.path: AttentionPath = "sdpa"

    def forward(self, q_NTC: Tensor, k_NTC: Tensor, v_NTC: Tensor) -> Tensor:
        """Attend; a batch of 1 on either side stands for all prompts."""
        q, k, v = self._split(self.q_proj(q_NTC)), self._split(self.k_proj(k_NTC)), self._split(self.v_proj(v_NTC))
        if self.path == "explicit":
            logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            out = torch.softmax(logits, dim=-1) @ v
        else:
            batch = max(q.shape[0], k.shape[0])
            q, k, v = q.expand(batch, -1, -1, -1), k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)
            out = F.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, self.out_proj(out.transpose(1, 2).flatten(2)))

    def _split(self, x_NTC: Tensor) -> Tensor:
        n, t, c = x_NTC.shape
        return x_NTC.reshape(n, t, self.heads, c // self.heads).transpose(1, 2)  # (N, G, T, D)


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and to the image, pass an MLP, then the image attends to the tokens."""

    def __init__(self, channels: int, heads: int, hidden: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = TokenAttention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = TokenAttention(channels, heads, downsample=2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = TokenMLP(channels, hidden, nn.ReLU)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = TokenAttention(channels, heads, downsample=2)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (N, T, C) and image (B, I, C) with their positional encodings -> both updated."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_pe
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        image_placed = image + image_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, image_placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image_placed, tokens + token_pe, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self, channels: int, heads: int, hidden: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(channels, heads, hidden, first=index == 0) for index in range(depth))
        self.final_attn_token_to_image = TokenAttention(channels, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(self, tokens_NTC: Tensor, image_BIC: Tensor, image_pe_1IC: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and image tokens -> both, each knowing of the other."""
        tokens, image = tokens_NTC, image_BIC
        for layer in self.layers:
            tokens, image = layer(tokens, image, tokens_NTC, image_pe_1IC)
        attended = self.final_attn_token_to_image(tokens + tokens_NTC, image + image_pe_1IC, image)
        return self.norm_final_attn(tokens + attended), image


class HeadMLP(nn.Module):
    """Linear layers with ReLU between; keys `layers.0..`."""

    def __init__(self, channels: int, hidden: int, out: int, depth: int = 3) -> None:
        super().__init__()
        widths = [channels, *[hidden] * (depth - 1), out]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))

    def forward(self, x_NC: Tensor) -> Tensor:
        """(N, C) -> (N, out)."""
        for layer in self.layers[:-1]:
            x_NC = F.relu(layer(x_NC))
        return cast(Tensor, self.layers[-1](x_NC))


class MaskDecoder(nn.Module):
    """From an image embedding and prompt tokens to low-resolution mask logits and predicted IoU."""

    def __init__(self, *, channels: int = 256, heads: int = 8, hidden: int = 2048) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(channels, heads, hidden)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(MASKS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(HeadMLP(channels, channels, channels // 8) for _ in range(MASKS))
        self.iou_prediction_head = HeadMLP(channels, channels, MASKS)

    def use_attention(self, path: AttentionPath) -> None:
        """Choose "sdpa" or, for graph exporters, "explicit" attention."""
        for module in self.modules():
            if isinstance(module, TokenAttention):
                module.path = path

    def forward(
        self, image_BCHW: Tensor, sparse_NTC: Tensor, image_pe_CHW: Tensor, *, multimask: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts.

        Args:
            image_BCHW: Image embedding with the dense prompt already added; B is 1 (shared) or N.
            sparse_NTC: Prompt tokens.
            image_pe_CHW: Positional encoding of the image embedding.
            multimask: Give the three masks for ambiguous prompts in place of the single one.

        Returns:
            Logits (N, M, 4 * H, 4 * W) and predicted IoU (N, M); M is 3 with multimask, else 1.
        """
        n, (h, w) = sparse_NTC.shape[0], image_BCHW.shape[-2:]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens_NTC = torch.cat([own.expand(n, -1, -1), sparse_NTC], dim=1)
        image_BIC = image_BCHW.flatten(2).transpose(1, 2)
        pe_1IC = image_pe_CHW.flatten(1).t().unsqueeze(0)
        tokens_NTC, image_NIC = self.transformer(tokens_NTC, image_BIC, pe_1IC)
        upscaled_NCHW = self.output_upscaling(image_NIC.transpose(1, 2).unflatten(-1, (h, w)))
        chosen = range(1, MASKS) if multimask else range(1)
        weights_NMC = torch.stack([self.output_hypernetworks_mlps[m](tokens_NTC[:, 1 + m]) for m in chosen], dim=1)
        logits = (weights_NMC @ upscaled_NCHW.flatten(2)).unflatten(-1, upscaled_NCHW.shape[-2:])
        return logits, self.iou_prediction_head(tokens_NTC[:, 0])[:, chosen.start : chosen.stop]
