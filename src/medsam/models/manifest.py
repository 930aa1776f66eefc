"""What binds pre-processing to weights: one frozen record per model, enforced by the loader."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Literal

from medsam.errors import CheckpointError

Architecture = Literal["vit_b", "vit_l", "vit_h", "tiny_vit", "tiny_vit_s"]
LIGHT: tuple[Architecture, ...] = ("tiny_vit", "tiny_vit_s")


@dataclass(frozen=True)
class Manifest:
    """How a model's input must be made and its output read.

    Args:
        name: Catalog name, or the file's stem for weights from elsewhere.
        architecture: Which image encoder; "tiny_vit" is LiteMedSAM's, "tiny_vit_s" a lighter one.
        frame_size: Side of the square model frame in pixels (1024; LiteMedSAM 256).
        fit: "squash" to the frame or "pad" at bottom and right.
        interpolation: Filter of the resize into the frame.
        scaling: "min-max" of the slice to [0, 1], "unit" (divide by 255) or SAM's "mean-std".
        upsample: What is interpolated to the slice: "logits" (cropped at low resolution, LiteMedSAM), "probabilities"
            (MedSAM: sigmoid first), "frame" (SAM: logits to the frame, crop, then to the slice).
        prompts: Prompts the weights were trained for: "box", "point", "mask".
        multimask: Whether the three further masks of an ambiguous prompt were trained.
        quality_trained: Whether the predicted IoU was trained and may be shown as a quality.
        sha256: Of the weights file, None where not known.
        licence: Of the weights, None where not stated.
    """

    name: str
    architecture: Architecture
    frame_size: int = 1024
    fit: Literal["squash", "pad"] = "squash"
    interpolation: Literal["bicubic", "bilinear", "area"] = "bicubic"
    scaling: Literal["min-max", "unit", "mean-std"] = "min-max"
    upsample: Literal["logits", "probabilities", "frame"] = "probabilities"
    prompts: tuple[str, ...] = ("box",)
    multimask: bool = False
    quality_trained: bool = False
    sha256: str | None = None
    licence: str | None = None

    def to_json(self) -> str:
        """One line of JSON, as kept in a safetensors header."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read to_json back.

        Raises:
            CheckpointError: not JSON, a field is missing or unknown.
        """
        try:
            raw = json.loads(text)
            raw["prompts"] = tuple(raw.get("prompts", ("box",)))
            unknown = set(raw) - {f.name for f in fields(cls)}
            if unknown:
                raise TypeError(f"unknown fields {sorted(unknown)}")
            return cls(**raw)
        except (ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"a model manifest that cannot be read ({error})",
                expected="the JSON written by medsam",
                fix="convert the weights again with this version of medsam models convert",
            ) from None
