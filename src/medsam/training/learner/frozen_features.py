"""What the frozen part of an image encoder makes of pictures: encoded once, kept on disk, taken from there after.

Shapes: B pictures, C channels, H rows, W columns of the features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medsam.errors import CheckpointError
from medsam.files.disk_space import Need, measure_size
from medsam.inference.cache import SUFFIX, EmbeddingCache
from medsam.inference.embedding import Embedding
from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.models.networks.architecture import Precision
from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.tiny_vit import TinyViT
from medsam.models.weights.manifest import Manifest
from medsam.training.config import TrainConfig

CACHE_BYTES = 1 << 40  # features of a run are not trimmed: all of them are needed every epoch


class StemRuntime(TorchRuntime):
    """Encodes with all but the tail of an image encoder."""

    def __init__(self, model: MedSAM, *, tail: int, device: torch.device, precision: Precision) -> None:
        super().__init__(model, device=device, precision=precision)
        self.tail = tail

    def encode(self, image_B3SS: Tensor) -> Tensor:
        """Slices in the model frame -> what the tail starts from, float32."""
        with torch.no_grad(), self._arithmetic():
            return self.model.image_encoder.stem(image_B3SS.to(self.device), self.tail).float()


class Features:
    """Features of pictures under a frozen stem, or the embeddings of a frozen encoder.

    Args:
        config: encoder "frozen" or "tail".
        model: In training.
        manifest: Of its input.
        folder: Where features are kept; runs with the same frozen weights may share it.
        device: Of the model.
        precision: Of the encoder.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: MedSAM,
        manifest: Manifest,
        folder: Path,
        *,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.model = model
        self.tail = config.tail if config.encoder == "tail" else 0
        runtime = (
            StemRuntime(model, tail=self.tail, device=device, precision=precision)
            if self.tail
            else TorchRuntime(model, device=device, precision=precision)
        )
        self.predictor = Predictor(runtime, manifest, weights=hash_stem(model, self.tail))
        self.cache = EmbeddingCache(folder, max_bytes=CACHE_BYTES)
        self.device = device

    def estimate_need(self, pictures: int) -> Need:
        """Estimate the disk space for so many pictures."""
        return estimate_features(self.predictor, self.cache, pictures)

    def encode(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Features of (H, W, 3) pictures, (B, C, H, W) on the device."""
        kept = self.cache.embed(self.predictor, pictures)
        return torch.cat([one.features.to(self.device) for one in kept])

    def embedding(self, picture: NDArray[np.uint8], predictor: Predictor) -> Embedding:
        """The embedding of a picture under the weights as they are now, for a predictor around them."""
        features_1CHW = self.encode([picture])
        if self.tail:
            with torch.no_grad():
                features_1CHW = require_encoder(self.model).tail(features_1CHW, self.tail)
        return Embedding(features_1CHW, predictor.make_frame(*picture.shape[:2]), predictor.weights)


class FeatureSegmenter:
    """A predictor that takes what the frozen stem made of pictures from disk; a Segmenter of medsam.evaluation.

    Args:
        features: Under the frozen stem.
        predictor: Around the weights as they are now.
    """

    def __init__(self, features: Features, predictor: Predictor) -> None:
        self.features = features
        self.predictor = predictor

    def embed(self, slice_rgb: NDArray[np.uint8]) -> Embedding:
        """The embedding of a picture under the weights as they are now, (H, W, 3) uint8."""
        return self.features.embedding(slice_rgb, self.predictor)

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: NDArray[np.float64] | None = None,
        points: Sequence[Sequence[tuple[float, float]]] | None = None,
        point_labels: Sequence[Sequence[int]] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """As Predictor.decode."""
        return self.predictor.decode(embedding, boxes=boxes, points=points, point_labels=point_labels)


def estimate_features(predictor: Predictor, cache: EmbeddingCache, pictures: int) -> Need:
    """For what a predictor makes of so many pictures, less what is kept there already; encodes one to see its size."""
    features = predictor.embed(np.zeros((64, 64, 3), np.uint8)).features
    wanted = pictures * features.numel() * 4  # float32
    there = measure_size(cache.folder, f"*{SUFFIX}")
    return Need(cache.folder, max(0, wanted - there), f"the features of {pictures:,} pictures that are kept")


def require_encoder(model: MedSAM) -> ImageEncoder | TinyViT:
    """The image encoder of a model in training.

    Raises:
        CheckpointError: it was rearranged for inference.
    """
    encoder = model.image_encoder
    if not isinstance(encoder, ImageEncoder | TinyViT):
        raise CheckpointError(
            f"an image encoder of kind {type(encoder).__name__}", expected="one to train", fix="load it from its file"
        )
    return encoder


def hash_stem(model: MedSAM, tail: int = 0) -> str:
    """Hex sha256 of the encoder weights before the tail, of all without one: what features are kept under."""
    encoder = require_encoder(model)
    learnt = {id(tensor) for part in (encoder.tail_parts(tail) if tail else ()) for tensor in _tensors(part)}
    made = hashlib.sha256(f"tail {tail}".encode() if tail else b"")
    for name, tensor in sorted(encoder.state_dict(keep_vars=True).items()):
        if id(tensor) not in learnt:
            made.update(name.encode())
            made.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return made.hexdigest()


def _tensors(part: nn.Module) -> list[Tensor]:
    return [*part.parameters(), *part.buffers()]
