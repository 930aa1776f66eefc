"""The mask decoder rearranged for inference: the same numbers at about a third of the work.

The image has 4096 tokens, a prompt about seven. So the small side is moved through the weights, not the large one:
logits q . (W k) become (W^T q) . k, and W (a v) becomes a (W v), which never projects an image token. Until a prompt has
changed them, image tokens are those of the image alone and are handled once for all prompts. Only the masks asked for
are made. Prompts are decoded a few at a time so that their image tokens stay in the cache.

Shapes: N prompts, T tokens, I image tokens, C channels, G heads, D channels of a head, M masks.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.models.networks.fast.image_encoder import Norm
from medsam.models.networks.fast.onednn import PackedLinear
from medsam.models.networks.layers import LayerNorm2d
from medsam.models.networks.mask_decoder import MASKS, MaskDecoder, TokenAttention, TwoWayBlock

PROMPTS_AT_ONCE = 2
MOST_TOKENS = 24  # with more prompt tokens than this, projecting the image tokens is the smaller work


class TokensToImage:
    """Tokens attend to the image; no image token is projected."""

    def __init__(self, attention: TokenAttention) -> None:
        a, self.heads = attention, attention.heads
        self.q = PackedLinear(a.q_proj.weight, a.q_proj.bias)
        self.scale = (a.q_proj.out_features // a.heads) ** -0.5
        # a key's bias adds the same to all logits of a query, so softmax drops it
        self.k_GDC = torch.unflatten(a.k_proj.weight.detach(), 0, (a.heads, -1)) * self.scale
        self.v_GCD = torch.unflatten(a.v_proj.weight.detach(), 0, (a.heads, -1)).transpose(1, 2).contiguous()
        self.v_bias = a.v_proj.bias.detach()
        self.out = PackedLinear(a.out_proj.weight, a.out_proj.bias)

    def __call__(self, tokens_NTC: Tensor, image_NIC: Tensor, placed_NIC: Tensor) -> Tensor:
        """Tokens (N, T, C); image tokens without and with positions (1 or N, I, C) -> (N, T, C)."""
        n, t, c = tokens_NTC.shape
        q_NGTD = torch.unflatten(self.q(tokens_NTC), -1, (self.heads, -1)).transpose(1, 2)
        moved = (q_NGTD @ self.k_GDC).reshape(n, self.heads * t, c)
        if len(image_NIC) == 1:
            moved = moved.reshape(1, -1, c)
        rows = []
        for queries, image, placed in zip(moved, image_NIC, placed_NIC, strict=True):
            attention = torch.softmax(product(queries, placed), dim=-1)
            rows.append(attention @ image)
        attended_NGTC = torch.stack(rows).view(n, self.heads, t, c)
        values_NGTD = attended_NGTC @ self.v_GCD
        return self.out(values_NGTD.transpose(1, 2).reshape(n, t, -1) + self.v_bias)


class ImageToTokens:
    """The image attends to the tokens; no image token is projected."""

    def __init__(self, attention: TokenAttention) -> None:
        a, self.heads = attention, attention.heads
        self.k = PackedLinear(a.k_proj.weight, a.k_proj.bias)
        self.v = PackedLinear(a.v_proj.weight, a.v_proj.bias)
        scale = (a.q_proj.out_features // a.heads) ** -0.5
        self.q_GDC = torch.unflatten(a.q_proj.weight.detach(), 0, (a.heads, -1)) * scale
        self.q_bias_GD1 = a.q_proj.bias.detach().view(a.heads, -1, 1) * scale
        self.out_GDC = torch.unflatten(a.out_proj.weight.detach().t(), 0, (a.heads, -1)).contiguous()
        self.out_bias = a.out_proj.bias.detach()

    def __call__(self, placed_NIC: Tensor, placed_tokens_NTC: Tensor, tokens_NTC: Tensor) -> Tensor:
        """What to add to each image token, (N, I, C)."""
        n, t, c = tokens_NTC.shape
        k_NGTD = torch.unflatten(self.k(placed_tokens_NTC), -1, (self.heads, -1)).transpose(1, 2)
        v_NGTD = torch.unflatten(self.v(tokens_NTC), -1, (self.heads, -1)).transpose(1, 2)
        keys = (k_NGTD @ self.q_GDC).reshape(n, self.heads * t, c)
        offsets = (k_NGTD @ self.q_bias_GD1).reshape(n, self.heads * t, 1)
        values = (v_NGTD @ self.out_GDC).reshape(n, self.heads * t, c)
        rows = []
        for index in range(n):
            placed = placed_NIC[min(index, len(placed_NIC) - 1)]
            logits = product(keys[index], placed) + offsets[index]  # (G * T, I)
            attention = torch.softmax(logits.view(self.heads, t, -1), dim=1).flatten(0, 1)
            rows.append(torch.addmm(self.out_bias, attention.t(), values[index]))
        return torch.stack(rows)


def product(a_RC: Tensor, b_SC: Tensor) -> Tensor:
    """a @ b.T."""
    return PackedLinear.once(a_RC, b_SC)


class FusedLayer:
    """One two-way layer."""

    def __init__(self, block: TwoWayBlock) -> None:
        self.block = block
        self.to_image = TokensToImage(block.cross_attn_token_to_image)
        self.to_tokens = ImageToTokens(block.cross_attn_image_to_token)
        self.norm4 = Norm(block.norm4)

    def __call__(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        """As TwoWayBlock.forward."""
        block = self.block
        if block.first:
            tokens = block.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_pe
            tokens = tokens + block.self_attn(placed, placed, tokens)
        tokens = block.norm1(tokens)
        image_placed = image + image_pe
        tokens = block.norm2(tokens + self.to_image(tokens + token_pe, image, image_placed))
        tokens = block.norm3(tokens + block.mlp(tokens))
        change = self.to_tokens(image_placed, tokens + token_pe, tokens)
        change += image
        return tokens, self.norm4(change)


class FusedUpscaling:
    """The two transposed convolutions as products of each image token with its four output pixels."""

    def __init__(self, upscaling: nn.Sequential) -> None:
        first, norm, _, second, _ = upscaling
        self.first = self._pack(cast(nn.ConvTranspose2d, first))
        self.norm = Norm(cast(LayerNorm2d, norm))
        self.second = self._pack(cast(nn.ConvTranspose2d, second))

    def _pack(self, conv: nn.ConvTranspose2d) -> PackedLinear:
        bias = cast(Tensor, conv.bias)
        return PackedLinear(conv.weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4), rows=4096)

    def __call__(self, image_IC: Tensor, weights_MC: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Image tokens of one prompt and the weights of its masks -> logits (M, 4 * H, 4 * W)."""
        h, w = size_hw
        x = self.first(image_IC).view(h * w * 4, -1)
        x = self.second(F.gelu(self.norm(x)), "gelu").view(h * w * 16, -1)
        logits = product(weights_MC, x).view(-1, h, w, 2, 2, 2, 2)
        return logits.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * h, 4 * w)


class FusedMaskDecoder(nn.Module):
    """What MaskDecoder computes, for inference; shares the small weights with it."""

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        transformer = decoder.transformer
        self.layers = [FusedLayer(cast(TwoWayBlock, layer)) for layer in transformer.layers]
        self.final = TokensToImage(transformer.final_attn_token_to_image)
        self.upscaling = FusedUpscaling(decoder.output_upscaling)

    def forward(
        self, image_BCHW: Tensor, sparse_NTC: Tensor, image_pe_CHW: Tensor, *, multimask: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As MaskDecoder.forward."""
        if sparse_NTC.shape[1] > MOST_TOKENS:
            return cast(tuple[Tensor, Tensor], self.decoder(image_BCHW, sparse_NTC, image_pe_CHW, multimask=multimask))
        image_BIC = image_BCHW.flatten(2).transpose(1, 2).contiguous()
        pe_1IC = image_pe_CHW.flatten(1).t().contiguous().unsqueeze(0)
        size_hw = (image_BCHW.shape[2], image_BCHW.shape[3])
        logits, quality = [], []
        for start in range(0, len(sparse_NTC), PROMPTS_AT_ONCE):
            part = slice(start, start + PROMPTS_AT_ONCE)
            image = image_BIC if len(image_BIC) == 1 else image_BIC[part]
            tokens_NTC, image_NIC = self._transform(sparse_NTC[part], image, pe_1IC)
            masks, scores = self._masks(tokens_NTC, image_NIC, size_hw, multimask=multimask)
            logits.append(masks)
            quality.append(scores)
        return torch.cat(logits), torch.cat(quality)

    def _transform(self, sparse_NTC: Tensor, image_BIC: Tensor, pe_1IC: Tensor) -> tuple[Tensor, Tensor]:
        own = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        start_NTC = torch.cat([own.expand(len(sparse_NTC), -1, -1), sparse_NTC], dim=1)
        tokens, image = start_NTC, image_BIC
        for layer in self.layers:
            tokens, image = layer(tokens, image, start_NTC, pe_1IC)
        attended = self.final(tokens + start_NTC, image, image + pe_1IC)
        return self.decoder.transformer.norm_final_attn(tokens + attended), image

    def _masks(
        self, tokens_NTC: Tensor, image_NIC: Tensor, size_hw: tuple[int, int], *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        chosen = range(1, MASKS) if multimask else range(1)
        heads = self.decoder.output_hypernetworks_mlps
        weights_NMC = torch.stack([heads[m](tokens_NTC[:, 1 + m]) for m in chosen], dim=1)
        logits = [self.upscaling(image, w, size_hw) for image, w in zip(image_NIC, weights_NMC, strict=True)]
        quality = self.decoder.iou_prediction_head(tokens_NTC[:, 0])
        return torch.stack(logits), quality[:, chosen.start : chosen.stop]
