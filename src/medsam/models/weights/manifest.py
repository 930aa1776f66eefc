"""What binds pre-processing to weights: one frozen record per model, enforced by the loader."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from medsam.errors import CheckpointError
from medsam.models.networks.architecture import Architecture
from medsam.models.weights.score_tables import SCORE_TABLES, ScoreTable

if TYPE_CHECKING:  # the list of models must answer without NumPy
    from medsam.imaging.frame import Fit, Frame, Interpolation, Scaling, Upsample


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
    fit: Fit = "squash"
    interpolation: Interpolation = "bicubic"
    scaling: Scaling = "min-max"
    upsample: Upsample = "probabilities"
    prompts: tuple[str, ...] = ("box",)
    multimask: bool = False
    quality_trained: bool = False
    sha256: str | None = None
    licence: str | None = None

    @property
    def score_name(self) -> str:
        """What the score of a mask is: the IoU expected by a table, the IoU that the weights predict, or the stability."""
        if self.score_table:
            return "expected IoU"
        return "predicted IoU" if self.quality_trained else "stability"

    @property
    def score_table(self) -> ScoreTable:
        """The IoU to expect at a score of exactly these weights; empty where it was not measured."""
        return SCORE_TABLES.get(self.sha256 or "", ())

    def make_frame(self, height: int, width: int) -> Frame:
        """The frame in which a slice of this many pixels enters the model."""
        from medsam.imaging.frame import Frame

        return Frame(height, width, self.frame_size, self.fit, self.interpolation, self.scaling)

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
