"""What the benchmarks compare with: segment-anything 1.0, and a plain reading of LiteMedSAM's published structure."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.models.networks.tiny_vit import AttentionBlock, ConvBlock, ConvNorm, Merge, TinyViT, number_offsets
from medsam.models.weights.catalog import fetch
from medsam.models.weights.checkpoint import load_checkpoint


def peak_mib() -> float:
    """Peak resident memory of this process; ru_maxrss would count what the parent held when it started us."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def stand_in_torchvision() -> None:
    """segment-anything imports torchvision without using it here, so a stand-in is enough."""
    for name in ("", ".transforms", ".transforms.functional", ".ops", ".ops.boxes"):
        sys.modules.setdefault(f"torchvision{name}", types.ModuleType(f"torchvision{name}"))
    for module, names in (
        ("transforms.functional", ("resize", "to_pil_image")),
        ("ops.boxes", ("batched_nms", "box_area")),
    ):
        for name in names:
            setattr(sys.modules[f"torchvision.{module}"], name, None)


def segment_anything(architecture: str) -> Any:
    """The published network of SAM."""
    stand_in_torchvision()
    from segment_anything import sam_model_registry

    return sam_model_registry[architecture]()


class PublishedLiteMedSAM:
    """LiteMedSAM as published: the plain TinyViT below, and segment-anything's own prompt encoder and mask decoder."""

    def __init__(self) -> None:
        stand_in_torchvision()
        from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

        model = load_checkpoint(fetch("lite-medsam"))[0].eval()
        self.image_encoder = PublishedTinyViT.of(model.image_encoder)
        self.prompt_encoder = PromptEncoder(256, (64, 64), (256, 256), 16)
        transformer = TwoWayTransformer(2, 256, 8, 2048)
        self.mask_decoder = MaskDecoder(
            transformer_dim=256,
            transformer=transformer,
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )
        self.prompt_encoder.load_state_dict(model.prompt_encoder.state_dict())
        self.mask_decoder.load_state_dict(model.mask_decoder.state_dict())
        self.prompt_encoder.eval(), self.mask_decoder.eval()


class PublishedTinyViT:
    """The published order of operations, one by one: convolution then batch norm, padding before the norm, softmax
    written out, tokens and images turned into each other between layers."""

    def __init__(self, encoder: TinyViT) -> None:
        self.encoder = encoder
        self.biases = {
            block: block.attn.attention_biases.detach()[:, number_offsets(block.window)]
            for block in encoder.modules()
            if isinstance(block, AttentionBlock)
        }

    @classmethod
    def of(cls, encoder: nn.Module) -> PublishedTinyViT:
        assert isinstance(encoder, TinyViT)
        return cls(encoder)

    def __call__(self, image_B3HW: Tensor) -> Tensor:
        x = self._conv_norm(self.encoder.patch_embed.seq[0], image_B3HW)
        x = self._conv_norm(self.encoder.patch_embed.seq[2], F.gelu(x))
        for stage in self.encoder.layers:
            for block in stage.blocks:
                x = self._conv_block(block, x) if isinstance(block, ConvBlock) else self._attention_block(block, x)
            if stage.downsample is not None:
                x = self._merge(stage.downsample, x)
        conv1, norm1, conv2, norm2 = self.encoder.neck
        return self._norm2d(norm2, conv2(self._norm2d(norm1, conv1(x))))

    def _conv_norm(self, layer: ConvNorm, x: Tensor) -> Tensor:
        return layer.bn(layer.c(x))

    def _conv_block(self, block: ConvBlock, x: Tensor) -> Tensor:
        hidden = F.gelu(self._conv_norm(block.conv2, F.gelu(self._conv_norm(block.conv1, x))))
        return F.gelu(self._conv_norm(block.conv3, hidden) + x)

    def _merge(self, merge: Merge, x: Tensor) -> Tensor:
        x = F.gelu(self._conv_norm(merge.conv2, F.gelu(self._conv_norm(merge.conv1, x))))
        return self._conv_norm(merge.conv3, x)

    def _attention_block(self, block: AttentionBlock, x_BCHW: Tensor) -> Tensor:
        b, c, h, w = x_BCHW.shape
        side = block.window
        x = x_BCHW.flatten(2).transpose(1, 2)
        tall, wide = -(-h // side) * side, -(-w // side) * side
        padded = F.pad(x.view(b, h, w, c), (0, 0, 0, wide - w, 0, tall - h))
        windows = padded.view(b, tall // side, side, wide // side, side, c).transpose(2, 3).reshape(-1, side * side, c)
        windows = self._attention(block, windows)
        joined = windows.view(b, tall // side, wide // side, side, side, c).transpose(2, 3).reshape(b, tall, wide, c)
        x = x + joined[:, :h, :w].contiguous().view(b, h * w, c)
        x = self._conv_norm(block.local_conv, x.transpose(1, 2).reshape(b, c, h, w)).view(b, c, h * w).transpose(1, 2)
        x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.mlp.norm(x))))
        return x.transpose(1, 2).reshape(b, c, h, w)

    def _attention(self, block: AttentionBlock, x: Tensor) -> Tensor:
        attn = block.attn
        n, t, c = x.shape
        d = c // attn.heads
        q, k, v = attn.qkv(attn.norm(x)).view(n, t, attn.heads, 3 * d).split(d, dim=3)
        q, k, v = q.permute(0, 2, 1, 3), k.permute(0, 2, 1, 3), v.permute(0, 2, 1, 3)
        logits = (q @ k.transpose(-2, -1)) * d**-0.5 + self.biases[block]
        return attn.proj((logits.softmax(dim=-1) @ v).transpose(1, 2).reshape(n, t, c))

    def _norm2d(self, norm: nn.Module, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + norm.eps)
        return norm.weight[:, None, None] * x + norm.bias[:, None, None]
