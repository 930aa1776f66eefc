"""A model on the devices of a Ray cluster: slices are encoded on all of them at once, and prompts go to whichever is free.

Shape legend: B batch, N prompts, C channels, H rows, W columns, S side of the model frame.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch

from medsam.engine import Devices
from medsam.errors import RemoteError
from medsam.inference.loading import Loaded, load
from medsam.inference.prompts import ModelPrompts
from medsam.inference.runtimes.fastest import RuntimeName
from medsam.models.networks.architecture import Precision
from medsam.models.weights.manifest import Manifest


@dataclass(frozen=True)
class Described:
    """What a device says of the model that it holds."""

    manifest: Manifest
    weights: str
    name: str
    precision: Precision
    batch_size: int


class HeldModel:
    """A model on its device; what comes and goes are tensors on the CPU, in the order in memory that they had."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    def describe(self) -> Described:
        """What it is."""
        one = self._loaded
        run = one.runtime
        return Described(one.manifest, one.weights, run.name, run.precision, run.batch_size)

    def encode(self, weights: str, image_B3SS: torch.Tensor) -> torch.Tensor:
        """As Runtime.encode, by these weights."""
        self._check(weights)
        return self._loaded.runtime.encode(image_B3SS).cpu()

    def decode(
        self, weights: str, features_1CHW: torch.Tensor, prompts: ModelPrompts, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As Runtime.decode, by these weights."""
        self._check(weights)
        logits_NMhw, quality_NM = self._loaded.runtime.decode(features_1CHW, prompts, multimask=multimask)
        return logits_NMhw.cpu(), quality_NM.cpu()

    def _check(self, weights: str) -> None:
        if weights != self._loaded.weights:
            raise RemoteError(
                f"a node of the cluster has other weights of {self._loaded.manifest.name}",
                expected="the same on all nodes", fix="run medsam models fetch on each, or name a file that all can read",
            )  # fmt: skip


def hold_model(
    model: str | None, device: str | None, precision: Precision, runtime: RuntimeName, like: str | None
) -> HeldModel:  # fmt: skip
    """Load a model on a node of the cluster."""
    return HeldModel(load(model, device=device, precision=precision, runtime=runtime, calibration=None, like=like))


class ClusterRuntime:
    """The runtime that asks the devices of a cluster.

    A batch is cut as the devices' own runtime would have it, so that its features are the same to the bit.

    Args:
        devices: Each holds a HeldModel.
        of: What they hold.
    """

    def __init__(self, devices: Devices, of: Described) -> None:
        self._devices, self._of = devices, of
        self.name = f"{len(devices)} x {of.name} on ray"
        self.precision = of.precision
        self.batch_size = of.batch_size * len(devices)

    def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
        """Slices in the model frame -> features (B, C, H, W) float32 on the CPU."""
        parts = torch.split(image_B3SS, self._of.batch_size)
        one = partial(self._devices.call, "encode", self._of.weights)
        if len(parts) == 1:
            return cast(torch.Tensor, one(image_B3SS))
        with ThreadPoolExecutor(len(parts)) as pool:
            return torch.cat([cast(torch.Tensor, features) for features in pool.map(one, parts)])

    def decode(
        self, features_1CHW: torch.Tensor, prompts: ModelPrompts, *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts of one slice -> logits (N, M, h, w) and predicted IoU (N, M)."""
        found = self._devices.call("decode", self._of.weights, features_1CHW.cpu(), prompts, multimask)
        return cast("tuple[torch.Tensor, torch.Tensor]", found)


def load_on_cluster(
    model: str | None, *, device: str | None, precision: Precision, runtime: RuntimeName, like: str | None,
    address: str | None,
) -> tuple[Loaded, int]:  # fmt: skip
    """Load a model on every device of a Ray cluster; a node fetches it as this machine would.

    Args:
        model: As load_predictor; a file must have this path on every node.
        device: As load_predictor, of the nodes.
        precision: As load_predictor.
        runtime: As load_predictor.
        like: As load_predictor.
        address: Of a running cluster; left out, Ray starts one on this machine.

    Returns:
        The model, and how many devices hold it.

    Raises:
        MedsamError: as Devices and as load_predictor.
    """
    devices = Devices(partial(hold_model, model, device, precision, runtime, like), address=address)
    of = cast(Described, devices.call("describe"))
    return Loaded(ClusterRuntime(devices, of), of.manifest, of.weights), len(devices)
