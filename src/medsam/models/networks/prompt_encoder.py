"""SAM's prompt encoder: boxes, points and a previous mask become tokens and a dense map.

Shapes: N prompts, P points of a prompt, T tokens, C channels, H rows, W columns. Coordinates are x, y in pixels of the
model frame.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from medsam.models.networks.layers import LayerNorm2d

NOT_A_POINT = -1
NEGATIVE, POSITIVE, TOP_LEFT, BOTTOM_RIGHT = range(4)


class RandomPositions(nn.Module):
    """Positional encoding by random spatial frequencies; the frequencies belong to the weights."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, frequencies))

    def forward(self, unit_xy: Tensor) -> Tensor:
        """Encode coordinates in [0, 1]: (..., 2) -> (..., 2 * frequencies), float32."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        angle = (2 * unit_xy.float() - 1) @ matrix * (2 * math.pi)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Turn prompts into what the mask decoder attends to, in the published layout of keys.

    Args:
        image_size: Side of the model frame in pixels; prompts are given in these.
        grid: Side of the image embedding in tokens.
        channels: Depth of the image embedding.
    """

    def __init__(self, *, image_size: int = 1024, grid: int = 64, channels: int = 256) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid = grid
        self.channels = channels
        self.pe_layer = RandomPositions(channels // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, channels, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def image_positions(self) -> Tensor:
        """Positional encoding of the image embedding's tokens, (C, grid, grid)."""
        device = self.pe_layer.positional_encoding_gaussian_matrix.device
        centre = (torch.arange(self.grid, device=device, dtype=torch.float32) + 0.5) / self.grid
        xy_HW2 = torch.stack([centre.expand(self.grid, -1), centre[:, None].expand(-1, self.grid)], dim=-1)
        return cast(Tensor, self.pe_layer(xy_HW2).permute(2, 0, 1))

    def embed_boxes(self, boxes_N4: Tensor) -> Tensor:
        """Two tokens a box, its corners: (N, 4) -> (N, 2, C)."""
        corners = self._positions(boxes_N4.reshape(-1, 2, 2))
        kinds = torch.cat([self._kind(TOP_LEFT), self._kind(BOTTOM_RIGHT)])
        return corners + kinds

    def embed_points(self, points_NP2: Tensor, labels_NP: Tensor) -> Tensor:
        """One token a point; label 1 belongs to the object, 0 does not, -1 fills up a shorter list."""
        tokens = self._positions(points_NP2)
        label = labels_NP.unsqueeze(-1)
        tokens = torch.where(label == NOT_A_POINT, self.not_a_point_embed.weight, tokens)
        tokens = torch.where(label == 0, tokens + self._kind(NEGATIVE), tokens)
        return torch.where(label == 1, tokens + self._kind(POSITIVE), tokens)

    def embed_masks(self, masks_N1HW: Tensor) -> Tensor:
        """Previous low-resolution logits (N, 1, 4 * grid, 4 * grid) -> (N, C, grid, grid)."""
        return cast(Tensor, self.mask_downscaling(masks_N1HW))

    def no_mask(self) -> Tensor:
        """What stands for the absence of a mask: (1, C, 1, 1), to be added everywhere."""
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1)

    def sparse(self, boxes_N4: Tensor | None, points_NP2: Tensor | None, labels_NP: Tensor | None) -> Tensor:
        """Tokens of points, then of boxes, (N, T, C); points without a box end in a filling point, as published."""
        tokens = []
        if points_NP2 is not None and labels_NP is not None:
            if boxes_N4 is None:
                points_NP2 = torch.cat([points_NP2, points_NP2.new_zeros(len(points_NP2), 1, 2)], dim=1)
                labels_NP = torch.cat([labels_NP, labels_NP.new_full((len(labels_NP), 1), NOT_A_POINT)], dim=1)
            tokens.append(self.embed_points(points_NP2, labels_NP))
        if boxes_N4 is not None:
            tokens.append(self.embed_boxes(boxes_N4))
        return torch.cat(tokens, dim=1)

    def _positions(self, xy: Tensor) -> Tensor:
        return cast(Tensor, self.pe_layer((xy.float() + 0.5) / self.image_size))

    def _kind(self, index: int) -> Tensor:
        return cast(nn.Embedding, self.point_embeddings[index]).weight
