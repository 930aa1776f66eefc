"""Weights as transformers' SamModel keeps them: its names, its config.json and its preprocessor_config.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from medsam.errors import CheckpointError
from medsam.models.networks.architecture import Architecture
from medsam.models.weights.manifest import Manifest

if TYPE_CHECKING:
    from torch import Tensor

_POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_HUB_POSITIONS = "shared_image_embedding.positional_embedding"
_HUB_POSITIONS_AGAIN = "prompt_encoder.shared_embedding.positional_embedding"

_TO_HUB: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = (
    (re.compile(r"^image_encoder\.neck\.(\d)\."), {"0": "conv1", "1": "layer_norm1", "2": "conv2", "3": "layer_norm2"}),
    (
        re.compile(r"^prompt_encoder\.mask_downscaling\.(\d)\."),
        {"0": "conv1", "1": "layer_norm1", "3": "conv2", "4": "layer_norm2", "6": "conv3"},
    ),
    (
        re.compile(r"^mask_decoder\.output_upscaling\.(\d)\."),
        {"0": "upscale_conv1", "1": "upscale_layer_norm", "3": "upscale_conv2"},
    ),
    (
        re.compile(r"^mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps\.\d)\.layers\.(\d)\."),
        {"0": "proj_in", "1": "layers.0", "2": "proj_out"},
    ),
)
_RENAMED = (
    (re.compile(r"^image_encoder\."), "vision_encoder."),
    (re.compile(r"^vision_encoder\.blocks\."), "vision_encoder.layers."),
    (re.compile(r"^vision_encoder\.patch_embed\.proj\."), "vision_encoder.patch_embed.projection."),
    (re.compile(r"^prompt_encoder\.mask_downscaling\."), "prompt_encoder.mask_embed."),
    (re.compile(r"^prompt_encoder\.point_embeddings\."), "prompt_encoder.point_embed."),
    (re.compile(r"^mask_decoder\.output_upscaling\."), "mask_decoder."),
    (re.compile(r"\.layers\.(?=(?:proj_in|proj_out|layers\.0)\.)"), "."),
    (re.compile(r"\.norm(\d|_final_attn)\."), r".layer_norm\1."),
)


def to_hub(name: str) -> str:
    """The name transformers' SamModel gives to a flat name."""
    if name == _POSITIONS:
        return _HUB_POSITIONS
    for pattern, parts in _TO_HUB:
        match = pattern.match(name)
        if match and match[1] in parts:
            name = name[: match.start(1)] + parts[match[1]] + name[match.end(1) :]
    for pattern, new in _RENAMED:
        name = pattern.sub(new, name)
    return name


def from_hub(tensors: Mapping[str, Tensor], flat_names: Iterable[str], where: object) -> dict[str, Tensor]:
    """Give a SamModel's tensors their flat names; names that have none are kept, for the strict load to refuse.

    Raises:
        CheckpointError: the two copies of the position table differ.
    """
    own = {to_hub(name): name for name in flat_names}
    renamed = dict(tensors)
    again = renamed.pop(_HUB_POSITIONS_AGAIN, None)
    if again is not None:
        first = renamed.setdefault(_HUB_POSITIONS, again)
        if first.shape != again.shape or not bool((first == again).all()):
            raise CheckpointError(
                f"{where} has two different position tables",
                expected="equal copies",
                fix="save it again with transformers",
            )
    return {own.get(name, name): tensor for name, tensor in renamed.items()}


def make_hub_config(architecture: Architecture) -> dict[str, object]:
    """The config.json that makes transformers build the same network."""
    width, depth, heads, far = {
        "vit_b": (768, 12, 12, [2, 5, 8, 11]),
        "vit_l": (1024, 24, 16, [5, 11, 17, 23]),
        "vit_h": (1280, 32, 16, [7, 15, 23, 31]),
    }[architecture]
    vision = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads, "mlp_dim": 4 * width}
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "torch_dtype": "float32",
        "vision_config": {"model_type": "sam_vision_model", "global_attn_indexes": far, **vision},
        "prompt_encoder_config": {},
        "mask_decoder_config": {},
    }


_IMAGENET_MEAN = [0.485, 0.456, 0.406]
_IMAGENET_STD = [0.229, 0.224, 0.225]
_RESAMPLE: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def make_hub_processor(manifest: Manifest) -> dict[str, object] | None:
    """The preprocessor_config.json of a manifest; None where SamProcessor cannot do it (squash, min-max)."""
    if manifest.fit != "pad" or manifest.scaling == "min-max" or manifest.interpolation == "area":
        return None
    side = manifest.frame_size
    normalize = manifest.scaling == "mean-std"
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": side},
        "resample": next(code for code, name in _RESAMPLE.items() if name == manifest.interpolation),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": normalize,
        "image_mean": _IMAGENET_MEAN if normalize else [0.0, 0.0, 0.0],
        "image_std": _IMAGENET_STD if normalize else [1.0, 1.0, 1.0],
        "do_pad": True,
        "pad_size": {"height": side, "width": side},
    }


def parse_processor(config: Mapping[str, object], architecture: Architecture, name: str) -> Manifest | None:
    """Read a preprocessor_config.json; None where it asks for something this package does not do.

    The prompts are taken to be boxes, because the file does not tell what the weights were trained for.
    """
    size, pad = config.get("size"), config.get("pad_size")
    side = size.get("longest_edge") if isinstance(size, Mapping) else None
    padded = isinstance(pad, Mapping) and pad.get("height") == pad.get("width") == side
    resample = config.get("resample")
    statistics = (config.get("image_mean"), config.get("image_std"))
    scaling: Literal["mean-std", "unit"] | None = None
    if not config.get("do_normalize", True) or statistics == ([0.0] * 3, [1.0] * 3):
        scaling = "unit"
    elif statistics == (_IMAGENET_MEAN, _IMAGENET_STD):
        scaling = "mean-std"
    rescale = config.get("rescale_factor", 1 / 255)
    rescaled = isinstance(rescale, float) and abs(rescale - 1 / 255) < 1e-6 and config.get("do_rescale", True)
    if not (side == 1024 and padded and rescaled and scaling and isinstance(resample, int) and resample in _RESAMPLE):
        return None
    return Manifest(name, architecture, fit="pad", interpolation=_RESAMPLE[resample], scaling=scaling, upsample="frame")
