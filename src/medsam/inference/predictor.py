"""Embed a slice once, decode as many prompts as you like: the public face of a loaded model.

Shape legend: B batch, N prompts, M masks a prompt, C channels, H rows, W columns, S side of the model frame.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from medsam.errors import IntensityError, PromptError
from medsam.imaging.frame import Frame
from medsam.inference.embedding import Embedding
from medsam.inference.loading import load
from medsam.inference.logits import chunks_to_slice, estimate_stability, read_expected_iou
from medsam.inference.prompts import ModelPrompts, make_model_prompts
from medsam.inference.runtimes.fastest import RuntimeName
from medsam.inference.runtimes.torch import Runtime
from medsam.models.networks.architecture import Precision
from medsam.models.weights.manifest import Manifest

__all__ = ["Embedding", "Predictor", "load_predictor"]

PROMPTS_AT_ONCE = 16  # of the mask decoder: about 0.2 GB; larger chunks are no faster
log = logging.getLogger("medsam")
Kind = Literal["box", "point", "mask"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """Some of the prompts of one decode, in order.

    Args:
        logits_NHW: (n, H, W) float32 in slice pixels, above 0 inside the mask.
        scores_N: (n,) float32.
    """

    logits_NHW: torch.Tensor
    scores_N: NDArray[np.float32]


class Predictor:
    """A model ready to segment: no state between calls but the weights, so threads may share it.

    Args:
        runtime: What runs the networks.
        manifest: How input must be made and output read for these weights.
        weights: Identity of the weights, kept in each Embedding.
        devices: How many calls it pays to make at once, each from a thread of its own.
    """

    def __init__(self, runtime: Runtime, manifest: Manifest, *, weights: str, devices: int = 1) -> None:
        self.manifest = manifest
        self.devices = devices
        self.weights = weights
        self.runtime = runtime
        self._said: set[str] = set()
        self._lock = threading.Lock()

    @property
    def batch_size(self) -> int:
        """Slices it pays to embed at once on this device."""
        return self.runtime.batch_size

    def make_frame(self, height: int, width: int) -> Frame:
        """The frame in which a slice of this size enters the model."""
        return self.manifest.make_frame(height, width)

    def __repr__(self) -> str:
        """One line for a notebook: the model's name and architecture, and what runs it where."""
        return f"Predictor({self.manifest.name}, {self.manifest.architecture}, {self.runtime.name})"

    def embed(self, slice_rgb: ArrayLike) -> Embedding:
        """Encode one slice.

        Args:
            slice_rgb: (H, W, 3) or grey (H, W) uint8 in [0, 255], as Image.slice_rgb gives it; NumPy's or a CPU tensor.

        Raises:
            IntensityError: not uint8 of that shape.
        """
        return self.embed_batch([slice_rgb])[0]

    def embed_batch(self, slices: Sequence[ArrayLike]) -> list[Embedding]:
        """Encode slices, of different sizes if need be; the same as one by one, faster on most devices."""
        embeddings: list[Embedding] = []
        step = self.batch_size
        for start in range(0, len(slices), step):
            part = [_repeat_grey(np.asarray(one)) for one in slices[start : start + step]]
            frames = [self._frame(one) for one in part]
            image_B3SS = np.stack([frame.image_to_model(one) for frame, one in zip(frames, part, strict=True)])
            features_BCHW = self.runtime.encode(torch.from_numpy(image_B3SS))
            embeddings += [
                Embedding(features_BCHW[i : i + 1].clone() if len(part) > 1 else features_BCHW, frame, self.weights)
                for i, frame in enumerate(frames)
            ]
        return embeddings

    def _frame(self, slice_rgb: np.ndarray) -> Frame:
        shape = slice_rgb.shape
        if len(shape) != 3 or shape[2] != 3 or not min(shape):
            raise IntensityError(
                f"a slice of shape {shape}",
                expected="uint8 (H, W, 3) or (H, W)",
                fix="call medsam.normalize, then image.slice_rgb(k)",
            )
        return self.make_frame(shape[0], shape[1])

    def decode(
        self, embedding: Embedding, *, boxes: object = None, points: object = None, point_labels: object = None,
        mask: object = None, multimask: bool = False,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:  # fmt: skip
        """Segment N prompts of one slice.

        Args:
            embedding: Of this predictor's weights.
            boxes: (N, 4) or (4,), x0 y0 x1 y1 in slice pixels.
            points: N lists of (x, y) in slice pixels, or one flat list for one object; with boxes, list i refines box i.
            point_labels: N lists of 1 (inside) and 0 (outside), flat as the points are.
            mask: A previous mask to start from, (H, W) or (N, H, W) bool, in addition to boxes or points.
            multimask: Three masks for each prompt; only for weights trained for it.

        Returns:
            Masks (N, H, W) bool in slice pixels and scores (N,) float32, named by manifest.score_name: the IoU to
            expect where that was measured, else the predicted IoU where it was trained, else the stability. With multimask (N, 3, H, W) and (N, 3).

        Raises:
            PromptError: prompts that do not fit the slice, each other or the weights.
        """
        prompts = _model_prompts(embedding, boxes, points, point_labels, mask)
        self._check(embedding, prompts, multimask=multimask)
        many = 3 if multimask else 1
        size_hw = (embedding.frame.height, embedding.frame.width)
        masks = np.empty((prompts.count * many, *size_hw), dtype=bool)
        scores = np.empty(prompts.count * many, dtype=np.float32)
        start = 0
        for part in self._decoded(embedding, prompts, multimask=multimask):
            stop = start + len(part.scores_N)
            masks[start:stop] = (part.logits_NHW > 0).cpu().numpy()
            scores[start:stop] = part.scores_N
            start = stop
        if multimask:
            return masks.reshape(-1, many, *size_hw), scores.reshape(-1, many)  # (N, M, H, W), (N, M)
        return masks, scores

    def decode_parts(
        self,
        embedding: Embedding,
        *,
        boxes: object = None,
        points: object = None,
        point_labels: object = None,
        mask: object = None,
    ) -> Iterator[Decoded]:
        """As decode, a few prompts at a time and with logits, for callers that must not hold all masks at once."""
        prompts = _model_prompts(embedding, boxes, points, point_labels, mask)
        self._check(embedding, prompts, multimask=False)
        return self._decoded(embedding, prompts, multimask=False)

    def _check(self, embedding: Embedding, prompts: ModelPrompts, *, multimask: bool) -> None:
        if embedding.weights != self.weights:
            raise PromptError(
                f"an embedding of weights {embedding.weights:.12}",
                expected=f"one of weights {self.weights:.12} ({self.manifest.name})",
                fix="embed the slice with this predictor",
            )
        if multimask and not self.manifest.multimask:
            raise PromptError(
                f"multimask with {self.manifest.name}",
                expected="weights trained to give several masks",
                fix="leave multimask out, or load a SAM model",
            )
        for kind in prompts.kinds:
            self._say_if_untrained(kind)

    def _say_if_untrained(self, kind: str) -> None:
        with self._lock:
            news = kind not in self.manifest.prompts and kind not in self._said
            self._said.add(kind)
        if news:
            log.warning(
                "%s was trained for %s prompts only; expect little of a %s prompt",
                self.manifest.name,
                " and ".join(self.manifest.prompts),
                kind,
            )

    def _decoded(self, embedding: Embedding, prompts: ModelPrompts, *, multimask: bool) -> Iterator[Decoded]:
        for start in range(0, prompts.count, PROMPTS_AT_ONCE):
            part = prompts.part(start, start + PROMPTS_AT_ONCE)
            logits_NMhw, quality_NM = self.runtime.decode(embedding.features, part, multimask=multimask)
            logits_Nhw, quality_N = logits_NMhw.flatten(0, 1).float(), quality_NM.flatten().float()
            raw_N = quality_N if self.manifest.quality_trained else estimate_stability(logits_Nhw, embedding.frame)
            scores_N = read_expected_iou(raw_N.cpu().numpy(), self.manifest.score_table)
            done = 0
            for logits_NHW in chunks_to_slice(logits_Nhw, embedding.frame, self.manifest.upsample):
                yield Decoded(logits_NHW, scores_N[done : done + len(logits_NHW)])
                done += len(logits_NHW)


def _repeat_grey(slice_rgb: np.ndarray) -> np.ndarray:
    """Give a grey slice three equal channels, as Image.slice_rgb does."""
    return np.repeat(slice_rgb[:, :, None], 3, axis=2) if slice_rgb.ndim == 2 else slice_rgb


def _model_prompts(
    embedding: Embedding, boxes: object, points: object, point_labels: object, mask: object
) -> ModelPrompts:
    side = 4 * int(embedding.features.shape[-1])
    return make_model_prompts(embedding.frame, boxes, points, point_labels, mask, mask_side=side)


def load_predictor(
    model: str | Path | None = None, *, device: str | torch.device | None = None,
    precision: Precision = "fp32",
    runtime: RuntimeName = "torch", calibration: Sequence[NDArray[np.uint8]] | None = None, like: str | None = None,
) -> Predictor:  # fmt: skip
    """Load a model and make it ready.

    Args:
        model: Catalog name, or a .pth, .safetensors, .onnx or .xml file; the default model, lite-medsam, without it.
        device: "cuda", "mps" or "cpu"; the first of them that is there without it.
        precision: Arithmetic of the image encoder. "bf16" and "fp16" are for GPUs; "int8" for ViTs on CPUs.
        runtime: "torch"; "openvino" (CPU, an extra); "auto" takes the faster of those installed, measured once.
        calibration: For "int8" on OpenVINO, the first time: about 100 uint8 (H, W, 3) slices like those to be segmented.
        like: For a weights file from elsewhere: the catalog model whose pre-processing it was trained with.

    Raises:
        ModelUnavailableError: unknown name, weights that are not here, or int8 without calibration.
        CheckpointError: a file that is no model. MissingDependencyError: the runtime or device is not there.
    """
    place = None if device is None else str(device)
    loaded = load(model, device=place, precision=precision, runtime=runtime, calibration=calibration, like=like)
    return Predictor(loaded.runtime, loaded.manifest, weights=loaded.weights)
