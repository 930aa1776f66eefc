"""What learns in the training of a specialist: its plan, its network, its optimizer, its rates and its loss.

Source: nnU-Net version 2 (SGD 0.01, Nesterov 0.99, decay 3e-5, poly 0.9, gradients clipped at 12) and the released DeepLabV3+
recipe (Adam 1e-3, decay 4e-5, StepLR(2, 0.94), 224 x 224).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from medsam.baselines.deeplabv3plus import DeepLabV3Plus, load_encoder
from medsam.baselines.specialist import NetworkName, build_network, segment_batch
from medsam.baselines.unet import UNetPlan, deep_supervision_loss, dice_and_cross_entropy, plan_unet
from medsam.errors import CheckpointError
from medsam.models.weights.file import detect_kind
from medsam.models.weights.safe_load import load_pickle, load_safetensors
from medsam.training.config import Augmentation
from medsam.training.samples.sources import SampleSource
from medsam.training.specialist.config import SpecialistConfig
from medsam.training.specialist.samples import measure_median_shape

DEEPLAB_PATCH = (224, 224)
DEEPLAB_BATCH = 32  # the released recipe takes 600, for which a GPU of 80 GB is needed
UNET_STEPS = 250  # of an epoch of nnU-Net
LARGEST_NORM = 12.0  # of a U-Net's gradient


@dataclass(frozen=True)
class PaperNumbers:
    """What the paper and nnU-Net's defaults say of a network.

    Args:
        epochs: Of its training.
        augmentation: Our own that comes closest: nnU-Net turns, zooms, mirrors, blurs and shifts grey values.
    """

    epochs: int
    augmentation: Augmentation


PAPER: dict[NetworkName, PaperNumbers] = {
    "unet": PaperNumbers(1000, "strong"),
    "deeplabv3plus": PaperNumbers(500, "none"),
}


def plan_network(config: SpecialistConfig, source: SampleSource) -> UNetPlan:
    """Plan patch and batch from the data and the memory; DeepLabV3+ has the paper's patch. A patch that is named counts.

    Raises:
        DataError: pictures too small for a U-Net.
    """
    patch = (config.patch_px, config.patch_px) if config.patch_px else None
    if config.network == "deeplabv3plus":
        return UNetPlan(patch or DEEPLAB_PATCH, (), (), config.batch_size or DEEPLAB_BATCH)
    plan = plan_unet(patch or measure_median_shape(source), source.pictures, memory_gb=config.memory_gb)
    return UNetPlan(plan.patch_HW, plan.strides, plan.features, config.batch_size or plan.batch_size)


def start_network(config: SpecialistConfig, plan: UNetPlan) -> nn.Module:
    """Make a network with the random weights of the seed, and the encoder of a file where one is given.

    Raises:
        CheckpointError: the file holds no ResNet-50.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.network, plan)
    if config.encoder and isinstance(network, DeepLabV3Plus):
        load_encoder(network, _read_tensors(Path(config.encoder)))
    return network


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if detect_kind(path) == "safetensors":
        return load_safetensors(path)
    kept = load_pickle(path)
    if not isinstance(kept, dict) or not all(isinstance(one, Tensor) for one in kept.values()):
        raise CheckpointError(
            f"{path} holds no plain state dict", expected="that of a resnet50", fix="save model.state_dict() alone"
        )
    return kept


def make_specialist_optimizer(network: nn.Module, name: NetworkName) -> Optimizer:
    """Make the optimizer of a kind of network."""
    if name == "unet":
        return SGD(network.parameters(), lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return Adam(network.parameters(), lr=1e-3, weight_decay=4e-5)


def compute_specialist_rate(name: NetworkName, epoch: int, epochs: int) -> float:
    """Give the learning rate of an epoch, counted from 0."""
    if name == "unet":
        return float(1e-2 * (1 - epoch / epochs) ** 0.9)
    return float(1e-3 * 0.94 ** (epoch // 2))


def compute_specialist_loss(network: nn.Module, input_B4hw: Tensor, mask_B1hw: Tensor) -> Tensor:
    """Give the loss of a batch: soft Dice and cross-entropy, at every resolution that a network answers in."""
    logits = segment_batch(network, input_B4hw)
    return deep_supervision_loss(logits, mask_B1hw) if len(logits) > 1 else dice_and_cross_entropy(logits[0], mask_B1hw)
