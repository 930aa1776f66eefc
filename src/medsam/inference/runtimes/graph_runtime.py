"""A runtime made of two graphs, whatever library runs them.

Shape legend: B batch, N prompts, C channels, H rows, W columns, S side of the model frame, h w 256 x 256.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medsam.errors import CheckpointError, PromptError
from medsam.inference.prompts import ModelPrompts
from medsam.inference.runtimes.graphs import ENCODER_INPUT, make_decoder_inputs
from medsam.models.networks.architecture import Precision

Graph = Callable[[Mapping[str, NDArray[np.generic]]], list[NDArray[np.float32]]]


class GraphRuntime:
    """An encoder graph and a decoder graph on a CPU; each runs one call at a time, with all cores.

    Args:
        encoder: Runs the encoder graph on named inputs.
        decoder: Runs the decoder graph on named inputs.
        name: Of the runtime and its arithmetic.
        precision: Arithmetic of the image encoder.
    """

    batch_size = 1  # on a CPU more at once are no faster and take memory

    def __init__(self, encoder: Graph, decoder: Graph, *, name: str, precision: Precision = "fp32") -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._encoding, self._decoding = threading.Lock(), threading.Lock()
        self.name = name
        self.precision: Precision = precision

    def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
        """Slices in the model frame -> features (B, C, H, W) float32."""
        parts = []
        for image_3SS in image_B3SS.numpy():
            with self._encoding:
                parts.append(self._encoder({ENCODER_INPUT: image_3SS[None]})[0])
        return torch.from_numpy(np.concatenate(parts))

    def decode(
        self, features_1CHW: torch.Tensor, prompts: ModelPrompts, *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts of one slice -> logits (N, 1, h, w) and predicted IoU (N, 1)."""
        if multimask:
            raise PromptError(
                f"multimask with {self.name}", expected="one mask for each prompt", fix='use runtime="torch"'
            )
        whole = prompts.masks_N1hw is None or prompts.count == 1
        parts = [prompts] if whole else [prompts.part(i, i + 1) for i in range(prompts.count)]  # graphs take one mask
        with self._decoding:
            decoded = [self._decoder(make_decoder_inputs(features_1CHW, part)) for part in parts]
        logits, quality = (np.concatenate(values) for values in zip(*decoded, strict=True))
        return torch.from_numpy(logits), torch.from_numpy(quality)


def find_decoder(encoder: Path) -> Path:
    """The decoder's file, beside the encoder's: NAME.decoder.xml beside NAME.xml."""
    return encoder.with_name(f"{encoder.stem}.decoder{encoder.suffix}")


def require_file(path: Path) -> Path:
    """The path of a graph file.

    Raises:
        CheckpointError: it is not there.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path} is not there", expected="the files that export writes together", fix="export again"
        )
    return path


def explain_damaged_graph(path: Path) -> CheckpointError:
    """The error for a graph file that cannot be read."""
    return CheckpointError(
        f"{path} cannot be read as a graph", expected="a whole file of the export", fix="export again"
    )
