"""The whole model: image encoder, prompt encoder and mask decoder as in the paper's Fig. 2b.

Shapes: B images, N prompts, P points of a prompt, S side of the model frame, C channels, H rows, W columns, M masks.
All prompts are in pixels of the model frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from medsam.errors import CheckpointError, MissingDependencyError, PromptError
from medsam.models.networks.architecture import Architecture, Precision
from medsam.models.networks.fast.image_encoder import FusedImageEncoder
from medsam.models.networks.fast.mask_decoder import FusedMaskDecoder
from medsam.models.networks.fast.onednn import can_pack_int8
from medsam.models.networks.fast.tiny_vit import FusedTinyViT
from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.models.networks.tiny_vit import TinyViT

ARCHITECTURES: tuple[Architecture, ...] = ("vit_b", "vit_l", "vit_h", "tiny_vit", "tiny_vit_s")
FRAME_SIZES: dict[Architecture, int] = {  # as published
    "vit_b": 1024,
    "vit_l": 1024,
    "vit_h": 1024,
    "tiny_vit": 256,
    "tiny_vit_s": 256,
}
PATCH = 16  # of a ViT; two halvings of TinyViT and of its logits need no more
_FILLINGS = {"uniform_", "normal_", "zero_", "fill_"}


class MedSAM(nn.Module):
    """Encode an image once, decode many prompts."""

    def __init__(
        self,
        image_encoder: ImageEncoder | TinyViT | FusedImageEncoder | FusedTinyViT,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder | FusedMaskDecoder,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def frame_size(self) -> int:
        """Side of the square model frame in pixels."""
        return self.prompt_encoder.image_size

    def use_attention(self, path: Literal["sdpa", "explicit"]) -> None:
        """Choose scaled_dot_product_attention or, for graph exporters, attention written out."""
        for part in (self.image_encoder, self.mask_decoder):
            if isinstance(part, ImageEncoder | TinyViT | MaskDecoder):
                part.use_attention(path)

    @torch.no_grad()
    def optimize_for_inference(self, precision: Precision = "fp32") -> MedSAM:
        """A model that computes the same, faster, on the CPU only; for inference, not for saving or training.

        Args:
            precision: "fp32" agrees to float rounding. "bf16" and "int8" make the large products of a ViT so (TinyViT
                and the decoder stay fp32); which of them pays depends on the processor.

        Raises:
            MissingDependencyError: fp16, or int8 on a build of torch without 8-bit products.
        """
        if precision == "fp16":
            raise MissingDependencyError("fp16 rearranged for a CPU", expected="fp32, bf16 or int8", fix="use fp32")
        if precision == "int8" and not can_pack_int8():
            raise MissingDependencyError(
                "a build of torch without oneDNN's 8-bit products", expected="the CPU build of torch", fix="use fp32"
            )
        encoder, decoder = self.image_encoder, self.mask_decoder
        fused: FusedImageEncoder | FusedTinyViT | None = None
        if isinstance(encoder, ImageEncoder):
            fused = FusedImageEncoder(encoder, precision)
        elif isinstance(encoder, TinyViT):
            fused = FusedTinyViT(encoder)
        fast = FusedMaskDecoder(decoder) if isinstance(decoder, MaskDecoder) else decoder
        return MedSAM(fused or encoder, self.prompt_encoder, fast).eval()

    def encode(self, image_B3SS: Tensor) -> Tensor:
        """Image in the model frame (B, 3, S, S), scaled as the manifest says -> features (B, C, H, W)."""
        return cast(Tensor, self.image_encoder(image_B3SS))

    def decode(
        self,
        features_BCHW: Tensor,
        boxes_N4: Tensor | None = None,
        points_NP2: Tensor | None = None,
        point_labels_NP: Tensor | None = None,
        masks_N1HW: Tensor | None = None,
        *,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode N prompts on one embedding, or N embeddings with one prompt each.

        Args:
            features_BCHW: Output of encode; B is 1 (shared by all prompts) or N.
            boxes_N4: One box a prompt.
            points_NP2: P points a prompt; shorter lists are filled up with label -1.
            point_labels_NP: 1 in the object, 0 outside, -1 filling.
            masks_N1HW: Logits of a previous decode, (N, 1, 4 * H, 4 * W).
            multimask: Three masks for an ambiguous prompt in place of one.

        Returns:
            Logits (N, M, 4 * H, 4 * W) and predicted IoU (N, M).

        Raises:
            PromptError: no prompt, points without labels, or numbers of prompts that differ.
        """
        _check_prompts(features_BCHW, boxes_N4, points_NP2, point_labels_NP, masks_N1HW)
        prompts = self.prompt_encoder
        dtype = features_BCHW.dtype
        dense = prompts.no_mask() if masks_N1HW is None else prompts.embed_masks(masks_N1HW)
        if boxes_N4 is None and points_NP2 is None:
            sparse_NTC = dense.new_zeros(len(dense), 0, prompts.channels)
        else:
            sparse_NTC = prompts.sparse(boxes_N4, points_NP2, point_labels_NP)
        image = features_BCHW + dense.to(dtype)
        positions = prompts.image_positions().to(dtype)
        return cast(
            tuple[Tensor, Tensor], self.mask_decoder(image, sparse_NTC.to(dtype), positions, multimask=multimask)
        )

    def forward(self, image_B3SS: Tensor, boxes_B4: Tensor) -> Tensor:
        """One box an image, as in training: logits (B, 1, 4 * H, 4 * W)."""
        return self.decode(self.encode(image_B3SS), boxes_B4)[0]


def _check_prompts(
    features: Tensor, boxes: Tensor | None, points: Tensor | None, labels: Tensor | None, masks: Tensor | None
) -> None:
    if (points is None) != (labels is None):
        raise PromptError(
            "points without labels, or labels without points",
            expected="one label a point",
            fix="give point_labels of 1 (in the object) or 0 (outside) with the points",
        )
    counts = {len(x) for x in (boxes, points, labels, masks) if x is not None}
    if len(counts) != 1 or 0 in counts:
        raise PromptError(
            f"{sorted(counts) or 'no'} prompts",
            expected="one or more prompts, and as many boxes as point lists and masks",
            fix="give each prompt its box, its points or its mask",
        )
    if len(features) not in (1, *counts):
        raise PromptError(
            f"{len(features)} embeddings for {counts.pop()} prompts",
            expected="one embedding for all prompts, or one for each",
            fix="decode one image at a time",
        )


class _WithoutFilling(TorchFunctionMode):
    """Inside, the in-place fillings of fresh weights do nothing, so that their memory is not even touched."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given.get("tensor", args[0] if args else None)
        if getattr(func, "__name__", "") in _FILLINGS:
            return args[0]
        return func(*args, **given)


def build(architecture: Architecture | str, *, initialise: bool = True, frame_size: int | None = None) -> MedSAM:
    """Build a network in evaluation mode.

    Args:
        architecture: "vit_b", "vit_l", "vit_h", "tiny_vit" (LiteMedSAM) or "tiny_vit_s" (lighter).
        initialise: False leaves the weights undefined, to be loaded at once; it saves seconds on the large models.
        frame_size: Side of the model frame in pixels; without it the published one.

    Raises:
        CheckpointError: unknown architecture, or a frame that is no whole number of patches.
    """
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"architecture {architecture!r}", expected=f"one of {', '.join(ARCHITECTURES)}", fix="correct the manifest"
        )
    size = frame_size if frame_size is not None else FRAME_SIZES[architecture]
    if size < PATCH or size % PATCH:
        raise CheckpointError(
            f"a frame of {size} pixels", expected=f"a multiple of {PATCH}", fix="correct frame_size in the manifest"
        )
    if initialise:
        return _assemble(architecture, size).eval()
    with _WithoutFilling():
        return _assemble(architecture, size).eval()


def _assemble(architecture: str, size: int) -> MedSAM:
    encoder: ImageEncoder | TinyViT
    if architecture == "tiny_vit":
        encoder = TinyViT(image_size=size)
    elif architecture == "tiny_vit_s":
        encoder = TinyViT(widths=(32, 64, 128, 320), depths=(1, 2, 4, 1), heads=(1, 2, 4, 10), image_size=size)
    elif architecture == "vit_b":
        encoder = ImageEncoder(image_size=size)
    elif architecture == "vit_l":
        encoder = ImageEncoder(channels=1024, depth=24, heads=16, global_blocks=(5, 11, 17, 23), image_size=size)
    else:
        encoder = ImageEncoder(channels=1280, depth=32, heads=16, global_blocks=(7, 15, 23, 31), image_size=size)
    grid = size // 4 if isinstance(encoder, TinyViT) else size // PATCH
    return MedSAM(encoder, PromptEncoder(image_size=size, grid=grid), MaskDecoder())
