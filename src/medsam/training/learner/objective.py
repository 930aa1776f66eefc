"""One forward pass of training: a batch in the model frame to the loss of each of its images.

Shapes: B images, T targets, S side of the model frame, C channels, H W of the embedding, h w of the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.inference.prompts import make_mask_logits
from medsam.models.networks.medsam import MedSAM
from medsam.training.config import TrainConfig
from medsam.training.learner.frozen_features import require_encoder
from medsam.training.learner.loss import measure_iou, segmentation_loss
from medsam.training.samples.dataset import Batch
from medsam.training.samples.prompting import TargetPrompts, correct_prompts, group_targets, show_boxes_only


class Objective(nn.Module):
    """The model with its loss, as one module, so that DistributedDataParallel sees its forward pass."""

    def __init__(self, model: MedSAM, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: Batch, features_BCHW: Tensor | None = None) -> Tensor:
        """Loss of each image, the mean over its targets and over the rounds of corrective clicks, (B,) float32.

        Args:
            batch: On the model's device.
            features_BCHW: What the frozen part of the encoder makes of the images, where it is known already.
        """
        features_BCHW = self._encode(batch, features_BCHW)
        masks_TSS = batch.masks_TSS.float()
        inside_TSS = _inside(batch, masks_TSS)
        prompts = batch.prompts or show_boxes_only(len(masks_TSS), masks_TSS.device)
        rounds = []
        for again in range(self.config.corrections + 1):
            logits_T1hw, quality_T1 = self._decode(features_BCHW, batch, prompts)
            logits_TSS = _to_frame(logits_T1hw.float(), batch.image_B3SS.shape[-1])
            losses_T = segmentation_loss(logits_TSS, masks_TSS, inside_TSS)
            if self.config.quality_weight > 0:
                error_T = (quality_T1[:, 0].float() - measure_iou(logits_TSS, masks_TSS, inside_TSS)) ** 2
                losses_T = losses_T + self.config.quality_weight * error_T
            rounds.append(losses_T)
            if again < self.config.corrections:
                answer, found_TSS = logits_T1hw.detach().float(), logits_TSS.detach() > 0
                prompts = correct_prompts(
                    prompts, answer, found_TSS=found_TSS, masks_TSS=masks_TSS, inside_TSS=inside_TSS
                )
        losses_T = torch.stack(rounds).mean(dim=0) + self._nothing()
        return torch.stack([part.mean() for part in torch.split(losses_T, list(batch.counts))])

    def _encode(self, batch: Batch, features_BCHW: Tensor | None) -> Tensor:
        """Embeddings of the images; no gradient reaches what is frozen."""
        learns = torch.is_grad_enabled() and self.config.encoder != "frozen"
        if self.config.encoder != "tail":
            with torch.set_grad_enabled(learns):
                return self.model.encode(batch.image_B3SS) if features_BCHW is None else features_BCHW
        encoder, count = require_encoder(self.model), self.config.tail
        if features_BCHW is None:
            with torch.no_grad():
                features_BCHW = encoder.stem(batch.image_B3SS, count)
        return encoder.tail(features_BCHW, count)

    def _decode(self, features_BCHW: Tensor, batch: Batch, prompts: TargetPrompts) -> tuple[Tensor, Tensor]:
        """All targets, those together that are shown the same: with an embedding each, or one for all of an image."""
        side = 4 * self.model.prompt_encoder.grid
        order: list[int] = []
        logits, qualities = [], []
        for images, targets, shown in group_targets(batch.counts, prompts.shown):
            every = len(targets) == len(prompts.shown)
            chosen = slice(None) if every else torch.tensor(targets, device=features_BCHW.device)
            whole = every and len(images) == len(features_BCHW)
            features = features_BCHW if whole else features_BCHW[torch.tensor(images, device=features_BCHW.device)]
            masks = None
            if shown.mask and prompts.logits_T1hw is not None:
                masks = prompts.logits_T1hw[chosen]
            elif shown.mask and prompts.masks_TSS is not None:
                masks = make_mask_logits(prompts.masks_TSS[chosen], side)
            found = self.model.decode(
                features,
                batch.boxes_T4[chosen] if shown.box else None,
                prompts.points_TP2[chosen, : shown.clicks] if shown.clicks else None,
                prompts.labels_TP[chosen, : shown.clicks] if shown.clicks else None,
                masks,
            )
            logits.append(found[0])
            qualities.append(found[1])
            order += targets
        back = torch.tensor(order, device=features_BCHW.device).argsort()
        return torch.cat(logits)[back], torch.cat(qualities)[back]

    def _nothing(self) -> Tensor | float:
        """0, from each weight of the prompt encoder that learns: a batch without clicks gives those a gradient of 0.

        DistributedDataParallel waits for a gradient of every weight, and a step is then the same on one process.
        """
        learnt = [p.sum() for p in self.model.prompt_encoder.parameters() if p.requires_grad]
        return 0.0 * torch.stack(learnt).sum() if learnt else 0.0


def _to_frame(logits_T1hw: Tensor, size: int) -> Tensor:
    """Logits bilinearly at the size of the model frame, as in the released training, (T, S, S)."""
    if logits_T1hw.shape[-1] != size:
        logits_T1hw = F.interpolate(logits_T1hw, size=(size, size), mode="bilinear", align_corners=False)
    return logits_T1hw[:, 0]


def _inside(batch: Batch, like_TSS: Tensor) -> Tensor:
    """1 where the frame shows the image and 0 in its padding, (T, S, S) float32: Eq. 1 counts voxels of the image."""
    size, device = like_TSS.shape[-1], like_TSS.device
    counts = torch.tensor(batch.counts, device=device)
    limits_T2 = torch.tensor(batch.inner, device=device).repeat_interleave(counts, dim=0)  # (T, 2)
    place_S = torch.arange(size, device=device)
    rows_TS = place_S < limits_T2[:, :1]
    columns_TS = place_S < limits_T2[:, 1:]
    return (rows_TS[:, :, None] & columns_TS[:, None, :]).float()
