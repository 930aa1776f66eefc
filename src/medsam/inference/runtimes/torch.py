"""What runs the networks behind two methods: here PyTorch on any device; openvino.py and onnx.py have the others.

Shape legend: B batch, N prompts, M masks a prompt, C channels, H rows, W columns, S side of the model frame,
h w 256 x 256.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import Protocol

import torch

from medsam.errors import MissingDependencyError
from medsam.inference.prompts import ModelPrompts
from medsam.models.networks.architecture import Precision
from medsam.models.networks.medsam import MedSAM

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Runtime(Protocol):
    """The two methods a Predictor needs; safe for threads."""

    batch_size: int  # slices encoded at once

    @property
    def name(self) -> str:
        """Of the runtime and its arithmetic, as "torch cpu fp32"."""
        ...

    @property
    def precision(self) -> Precision:
        """Arithmetic of the image encoder."""
        ...

    def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
        """Slices in the model frame -> features (B, C, H, W)."""
        ...

    def decode(
        self, features_1CHW: torch.Tensor, prompts: ModelPrompts, *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts of one slice -> logits (N, M, h, w) and predicted IoU (N, M)."""
        ...


class TorchRuntime:
    """PyTorch on one device; half precision is for the image encoder, the decoder stays fp32.

    Args:
        model: On the CPU; there it is rearranged for inference, which needs no extra and keeps the masks.
        device: Where it runs.
        precision: "int8" is for ViTs on the CPU: their large products in 8 bits.
    """

    def __init__(self, model: MedSAM, *, device: torch.device, precision: Precision = "fp32") -> None:
        fused = device.type == "cpu" and precision != "fp16"
        if device.type == "cpu" and precision != "fp16":
            self.model = model.optimize_for_inference(precision)
        else:
            self.model = model.to(device).eval()
        self._autocast = None if fused else HALF.get(precision)
        self.device = device
        self.precision: Precision = precision
        self.name = f"torch {device} {precision}"
        self.batch_size = choose_batch_size(model.frame_size, device.type)

    def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
        """Slices in the model frame -> features (B, C, H, W) float32 on the device."""
        with torch.no_grad(), self._arithmetic():
            return self.model.encode(image_B3SS.to(self.device)).float()

    def decode(
        self, features_1CHW: torch.Tensor, prompts: ModelPrompts, *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts of one slice -> logits (N, M, h, w) and predicted IoU (N, M)."""
        p = prompts.to(self.device)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self.model.decode(
                features_1CHW.to(self.device), p.boxes_N4, p.points_NP2, p.labels_NP, p.masks_N1hw, multimask=multimask
            )

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Of the encoder, whatever the caller computes with, as a training step does in bf16."""
        return torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None)


def choose_batch_size(frame_size: int, device_type: str) -> int:
    """Slices to encode at once: few on a CPU, where more only take memory; 8 megapixels on a GPU."""
    if device_type == "cpu":
        return 1 if frame_size > 512 else 4
    return max(1, 8 * 1024**2 // frame_size**2)


def choose_device(name: str | None) -> torch.device:
    """The device asked for, or the first there is of cuda, mps, cpu.

    Raises:
        MissingDependencyError: it is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        return torch.device(next(kind for kind, present in there.items() if present))
    kind = name.partition(":")[0]
    if not there.get(kind, False):
        present = ", ".join(k for k, is_there in there.items() if is_there)
        raise MissingDependencyError(
            f"device is {name!r}",
            expected=f"one of {present} on this machine",
            fix="leave the device out to take the best one",
        )
    return torch.device(name)


def set_threads(count: int) -> None:
    """Let the networks use so many threads of the CPU: torch from now on, other runtimes once they are loaded.

    Raises:
        MissingDependencyError: not a positive number.
    """
    if count < 1:
        raise MissingDependencyError(f"{count} threads", expected="at least 1", fix="correct --threads")
    torch.set_num_threads(count)


def hash_weights(model: MedSAM) -> str:
    """Identity of weights that came from no file: sha256 over all tensors by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
