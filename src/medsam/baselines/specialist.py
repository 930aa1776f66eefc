"""A specialist: a U-Net or DeepLabV3+ of one modality or task that answers boxes, and the file that holds it.

Shapes: N boxes, H rows and W columns of the slice, h rows and w columns of the network's input.
Source: paper, Methods, "Training protocol" (one U-Net and one DeepLabV3+ for each modality).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from medsam.baselines.box_channel import CHANNELS, BoxChannelInput, take_boxes
from medsam.baselines.deeplabv3plus import DeepLabV3Plus
from medsam.baselines.unet import UNet, UNetPlan
from medsam.errors import CheckpointError, GeometryError
from medsam.files.atomic import replacing
from medsam.models.weights.file import detect_kind, digest, read_header

NetworkName = Literal["unet", "deeplabv3plus"]
HEADER_KEY = "medsam.specialist"  # in a safetensors header's metadata
AT_ONCE = 4  # boxes that are decoded together, so that many boxes need no more memory


@dataclass(frozen=True)
class SpecialistManifest:
    """What a specialist is and how it came about.

    Args:
        name: As tables call it.
        network: Its architecture.
        plan: Patch, strides and features of a U-Net; of DeepLabV3+ the patch and the batch count alone.
        modality: Of the pictures it learnt on; "" is all there were.
        dataset: The data set it learnt on; "" is all there were.
        target: What it learnt to find; "" is everything.
        epochs: Of its training.
        steps: Of its training.
        seconds: Of its training.
        seed: Of its training.
        images: Pictures it learnt on.
        data_sha256: Identity of these pictures and their targets.
        licence: Of the weights, "" where not stated.
        sha256: Of the file; None until it is read from one.
    """

    name: str
    network: NetworkName
    plan: UNetPlan
    modality: str = ""
    dataset: str = ""
    target: str = ""
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    seed: int = 0
    images: int = 0
    data_sha256: str = ""
    licence: str = ""
    sha256: str | None = None

    @property
    def box_input(self) -> BoxChannelInput:
        """How pictures and boxes enter the network."""
        if self.network == "unet":
            return BoxChannelInput(self.plan.patch_HW, "bicubic", "z-score")
        return BoxChannelInput(self.plan.patch_HW, "area", "unit")

    def to_json(self) -> str:
        """One line of JSON, as kept in a safetensors header."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SpecialistManifest:
        """Read to_json back.

        Raises:
            CheckpointError: not JSON, a field is missing or unknown, or the network is.
        """
        try:
            raw = json.loads(text)
            plan = raw["plan"]
            strides = tuple((int(down), int(across)) for down, across in plan["strides"])
            rows, columns = (int(side) for side in plan["patch_HW"])
            features = tuple(int(width) for width in plan["features"])
            raw["plan"] = UNetPlan((rows, columns), strides, features, int(plan["batch_size"]))
            unknown = set(raw) - {field.name for field in fields(cls)}
            if unknown or raw["network"] not in ("unet", "deeplabv3plus"):
                raise ValueError(", ".join(sorted(unknown)) or raw["network"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(
                f"the header of a specialist that cannot be read ({type(error).__name__})",
                expected="the JSON written by medsam baseline train",
                fix="train it again with this version",
            ) from None


def build_network(network: NetworkName, plan: UNetPlan) -> nn.Module:
    """Make an untrained network whose last input channel is the box."""
    return UNet(plan, CHANNELS) if network == "unet" else DeepLabV3Plus(CHANNELS)


def segment_batch(network: nn.Module, input_NChw: Tensor) -> list[Tensor]:
    """Give the logits of a network, the full resolution (N, 1, h, w) first; a U-Net in training has lower ones too."""
    logits = network(input_NChw)
    return logits if isinstance(logits, list) else [logits]


@dataclass(frozen=True, eq=False)
class SpecialistPicture:
    """A picture as a specialist takes it, with the shape it had.

    Args:
        image_3hw: float32, on the device of the network.
        height: H of the slice.
        width: W of the slice.
    """

    image_3hw: Tensor
    height: int
    width: int


class Specialist:
    """A trained network that answers boxes, as evaluation asks models.

    Args:
        network: With its weights; set to evaluation.
        manifest: Says how pictures enter it.
        device: Where it runs.
    """

    def __init__(self, network: nn.Module, manifest: SpecialistManifest, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.manifest = manifest
        self.device = device

    def embed(self, slice_rgb: NDArray[np.uint8], /) -> SpecialistPicture:
        """Prepare a picture, (H, W, 3) uint8, once for all its boxes.

        Raises:
            GeometryError: another shape or type.
        """
        if slice_rgb.dtype != np.uint8 or slice_rgb.ndim != 3 or slice_rgb.shape[2] != 3:
            raise GeometryError(
                f"a slice of shape {slice_rgb.shape} and dtype {slice_rgb.dtype}",
                expected="uint8 of shape (H, W, 3)",
                fix="call medsam.normalize, then image.slice_rgb(k)",
            )
        image_3hw = torch.from_numpy(self.manifest.box_input.image_to_network(slice_rgb)).to(self.device)
        return SpecialistPicture(image_3hw, slice_rgb.shape[0], slice_rgb.shape[1])

    def decode(
        self,
        embedding: SpecialistPicture,
        /,
        *,
        boxes: NDArray[np.float64] | None = None,
        points: Sequence[Sequence[tuple[float, float]]] | None = None,
        point_labels: Sequence[Sequence[int]] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Answer N boxes, in slice pixels: masks (N, H, W) bool, and N scores that are NaN: specialists rate no mask.

        Raises:
            PromptError: clicks, no box, or one that leaves the slice.
        """
        boxes_N4 = take_boxes(boxes, points, point_labels)
        height, width = embedding.height, embedding.width
        channels = self.manifest.box_input.boxes_to_network(boxes_N4, height, width)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(channels), AT_ONCE):
                box_N1hw = torch.from_numpy(channels[start : start + AT_ONCE, None]).to(self.device)
                image_N3hw = embedding.image_3hw.expand(len(box_N1hw), -1, -1, -1)
                logits = segment_batch(self.network, torch.cat([image_N3hw, box_N1hw], dim=1))[0]
                parts.append(self.manifest.box_input.logits_to_masks(logits, height, width))
        return np.concatenate(parts), np.full(len(channels), np.nan, dtype=np.float32)


def save_specialist(network: nn.Module, manifest: SpecialistManifest, path: Path) -> SpecialistManifest:
    """Write a specialist as one safetensors file, whole or not at all.

    Returns:
        The manifest with the sha256 of what was written.

    Raises:
        OutputError: the disk refused.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with replacing(path, what="the weights", readable=True) as temporary:
        save_file(tensors, temporary, {HEADER_KEY: replace(manifest, sha256=None).to_json()})
    return replace(manifest, sha256=digest(path))


def is_specialist(path: Path) -> bool:
    """Tell by its header whether a weights file holds a specialist; False where it is no such file."""
    return path.is_file() and detect_kind(path) == "safetensors" and HEADER_KEY in read_header(path).metadata


def read_manifest(path: Path) -> SpecialistManifest:
    """Read what a specialist's file says of it, without its weights.

    Raises:
        CheckpointError: no weights file, or one of another kind.
    """
    text = read_header(path).metadata.get(HEADER_KEY) if detect_kind(path) == "safetensors" else None
    if text is None:
        raise CheckpointError(
            f"{path} holds no specialist", expected="a file of medsam baseline train", fix="check the path"
        )
    return replace(SpecialistManifest.from_json(text), sha256=digest(path))


def load_specialist(path: Path, device: torch.device) -> Specialist:
    """Load a specialist.

    Raises:
        CheckpointError: no specialist, or weights that do not fit its plan.
    """
    manifest = read_manifest(path)
    network = build_network(manifest.network, manifest.plan)
    try:
        network.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not fit its own plan ({str(error).splitlines()[0]:.120})",
            expected="the weights that were written with it",
            fix="copy or train it again",
        ) from None
    return Specialist(network, manifest, device)
