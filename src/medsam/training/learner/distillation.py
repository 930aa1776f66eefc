"""Distillation: a light image encoder learns to give the features of a large one, whose decoder it then serves.

Shapes: B images, S side of the student's frame, C channels, H W of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.errors import DataError
from medsam.files.disk_space import Need
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.models.networks.medsam import MedSAM, build
from medsam.models.networks.tiny_vit import TinyViT
from medsam.models.weights.manifest import Manifest
from medsam.training.config import TrainConfig
from medsam.training.learner.frozen_features import CACHE_BYTES, estimate_features
from medsam.training.learner.weight_selection import inherit_weights
from medsam.training.samples.dataset import Batch, Draws, join_batches

CALIBRATION = 16  # images that the fresh student's batch norms take their statistics from, once


class Teacher:
    """The features that are to be learnt: each picture is encoded once and kept on disk.

    Args:
        predictor: Around the large model.
        folder: Of the cache; runs with the same teacher may share it.
        device: Of the student.
    """

    def __init__(self, predictor: Predictor, folder: Path, device: torch.device) -> None:
        self.predictor = predictor
        self.cache = EmbeddingCache(folder, max_bytes=CACHE_BYTES)
        self.device = device

    def estimate_need(self, pictures: int) -> Need:
        """Estimate the disk space for so many pictures."""
        return estimate_features(self.predictor, self.cache, pictures)

    def encode(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Features of (H, W, 3) pictures, (B, C, H, W) on the student's device."""
        return torch.cat([one.features.to(self.device) for one in self.cache.embed(self.predictor, pictures)])


class Distillation(nn.Module):
    """The student with its loss, as one module; takes the place of Objective in a run.

    Source: the published LiteMedSAM, whose TinyViT was made so from MedSAM's ViT-B.
    """

    def __init__(self, model: MedSAM, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: Batch, wanted_BCHW: Tensor) -> Tensor:
        """Mean squared error of the features of each image, and their cosine distance by its weight, (B,) float32.

        Args:
            batch: On the student's device.
            wanted_BCHW: Of the teacher; of another size they are interpolated to the student's.
        """
        found_BCHW = self.model.encode(batch.image_B3SS).float()
        wanted_BCHW = resize_features(wanted_BCHW.float(), found_BCHW.shape[-1])
        losses_B = ((found_BCHW - wanted_BCHW) ** 2).mean(dim=(1, 2, 3))
        if self.config.cosine_weight > 0:
            apart_BHW = 1 - F.cosine_similarity(found_BCHW, wanted_BCHW, dim=1)
            losses_B = losses_B + self.config.cosine_weight * apart_BHW.mean(dim=(1, 2))
        return losses_B


def resize_features(features_BCHW: Tensor, side: int) -> Tensor:
    """Features at another size: both frames show the same picture, so only the grid differs."""
    if features_BCHW.shape[-1] == side:
        return features_BCHW
    return F.interpolate(features_BCHW, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def new_student(teacher: MedSAM, base: Manifest, manifest: Manifest, config: TrainConfig) -> tuple[MedSAM, Manifest]:
    """A fresh light encoder before the teacher's prompt encoder and mask decoder.

    Args:
        teacher: The large model.
        base: Its manifest.
        manifest: Of what would come out of training the teacher itself (new_manifest).
        config: Names the student.

    Returns:
        The student and its manifest.

    Raises:
        DataError: none is named, the pictures would lie otherwise in the student's frame than in the teacher's, or it
            cannot start from the base.
    """
    if not config.student:
        raise DataError("no student", expected="the name of a light encoder", fix='set student = "tiny_vit_s"')
    if manifest.fit != base.fit:
        raise DataError(
            f"like = {config.like!r} fits pictures into the frame by {manifest.fit!r}",
            expected=f"{base.fit!r}, as {base.name} does, so that features lie over each other",
            fix='set like = "" to keep the pre-processing of the base',
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        student = build(config.student)
    if config.student_start == "base":
        inherit_weights(cast(TinyViT, student.image_encoder), teacher.image_encoder)
    copy_decoder(student, teacher)
    return student, replace(
        manifest,
        architecture=config.student,
        frame_size=student.frame_size,
        prompts=base.prompts,
        multimask=base.multimask,
        quality_trained=base.quality_trained,
    )


def copy_decoder(student: MedSAM, teacher: MedSAM) -> None:
    """Give a student the prompt encoder and the mask decoder of its teacher."""
    student.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())
    student.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())


@torch.no_grad()
def calibrate_batch_norms(student: MedSAM, draws: Draws) -> None:
    """Set the statistics of a fresh encoder's batch norms from some images; training leaves them as they are.

    Without it the features of a fresh network are far from any scale, since batch norm passes everything through.
    """
    norms = [m for m in student.image_encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all images
        norm.train()
    for number in range(min(CALIBRATION, len(draws.source))):
        student.encode(join_batches([draws[number]]).image_B3SS)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()
