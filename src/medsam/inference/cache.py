"""Embeddings on disk, keyed by what was encoded and by which weights: a second prompt answers in decode time."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from medsam.files.atomic import replacing
from medsam.inference.embedding import Embedding
from medsam.inference.predictor import Predictor

FORMAT = "medsam embedding 1"
SUFFIX = ".embedding"
TRIMMED_TO = 0.9  # of the limit, so that not every write trims


class EmbeddingCache:
    """A folder of embeddings; threads and processes may share it.

    Features are kept in fp32: in fp16 some pixels on the rim of a mask change.

    Args:
        folder: Made on the first write.
        max_bytes: The longest unused embeddings go when the folder grows beyond it.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int = 8 * 2**30) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes
        self._bytes: int | None = None  # of the folder; None until it was looked at
        self._lock = threading.Lock()

    def embed(self, predictor: Predictor, slices: Sequence[NDArray[np.uint8]]) -> list[Embedding]:
        """As predictor.embed_batch, but slices that are kept here are not encoded again.

        Fresh features lie in memory as those read back do, so that what is computed from them is the same to the bit.
        """
        frames = [predictor.make_frame(*one.shape[:2]) for one in slices]
        keys = [compute_embedding_key(predictor, one) for one in slices]
        found = [self.read(key) for key in keys]
        missing = [i for i, features in enumerate(found) if features is None]
        fresh = dict(zip(missing, predictor.embed_batch([slices[i] for i in missing]), strict=True))
        for i, embedding in fresh.items():
            self.write(keys[i], embedding.features)
        kept = {i: Embedding(f, frames[i], predictor.weights) for i, f in enumerate(found) if f is not None}
        laid = {i: replace(one, features=one.features.contiguous()) for i, one in fresh.items()}
        return [laid[i] if i in laid else kept[i] for i in range(len(slices))]

    def holds(self, key: str) -> bool:
        """Whether there is something under a key; it is not looked into."""
        return self._path(key).is_file()

    def read(self, key: str) -> torch.Tensor | None:
        """Features kept under a key; None where there are none, or where the file is damaged, which removes it."""
        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                features: torch.Tensor = file.get_tensor("features")
                note = file.metadata() or {}
            if note.get("format") != FORMAT or note.get("sha256") != _digest(features):
                raise SafetensorError("another format, or other bytes than were written")
            os.utime(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError):
            path.unlink(missing_ok=True)
            return None
        return features

    def write(self, key: str, features: torch.Tensor) -> None:
        """Keep features under a key, whole or not at all, and trim the folder to its limit.

        Raises:
            OutputError: the folder cannot be written.
        """
        features = features.detach().to("cpu", torch.float32).contiguous()
        path = self._path(key)
        with replacing(path) as temporary:
            save_file({"features": features}, temporary, metadata={"format": FORMAT, "sha256": _digest(features)})
        with self._lock:
            self._bytes = self._folder_bytes() if self._bytes is None else self._bytes + path.stat().st_size
            if self._bytes > self.max_bytes:
                self._trim(keep=path)

    def clear(self) -> None:
        """Remove every embedding."""
        for path in self.folder.glob(f"*/*{SUFFIX}"):
            path.unlink(missing_ok=True)
        self._bytes = None

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def _entries(self) -> list[tuple[float, int, Path]]:
        entries = []
        for path in self.folder.glob(f"*/*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process trimmed it
            entries.append((status.st_mtime, status.st_size, path))
        return sorted(entries)

    def _folder_bytes(self) -> int:
        return sum(size for _, size, _ in self._entries())

    def _trim(self, keep: Path) -> None:
        entries = self._entries()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.max_bytes * TRIMMED_TO:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                total -= size
        self._bytes = total


def compute_embedding_key(predictor: Predictor, slice_rgb: NDArray[np.uint8]) -> str:
    """Hex sha256 over the pixels of a slice, its frame, the weights and the arithmetic that would encode it."""
    frame = predictor.make_frame(*slice_rgb.shape[:2])
    digest = hashlib.sha256(repr((FORMAT, predictor.weights, predictor.runtime.precision, astuple(frame))).encode())
    digest.update(np.ascontiguousarray(slice_rgb).data)
    return digest.hexdigest()


def _digest(features: torch.Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(features.numpy()).data).hexdigest()
