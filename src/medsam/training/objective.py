"""One forward pass of training: a batch in the model frame to the loss of each of its images.

Shapes: B images, T targets, S side of the model frame, C channels, H W of the embedding, h w of the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medsam.models.medsam import MedSAM
from medsam.training.config import TrainConfig
from medsam.training.dataset import Batch
from medsam.training.features import encoder_of
from medsam.training.loss import overlap, segmentation_loss


class Objective(nn.Module):
    """The model with its loss, as one module, so that DistributedDataParallel sees its forward pass."""

    def __init__(self, model: MedSAM, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, batch: Batch, features_BCHW: Tensor | None = None) -> Tensor:
        """Loss of each image, the mean over its targets, (B,) float32.

        Args:
            batch: On the model's device.
            features_BCHW: What the frozen part of the encoder makes of the images, where it is known already.
        """
        features_BCHW = self._encode(batch, features_BCHW)
        logits_T1hw, quality_T1 = self._decode(features_BCHW, batch)
        logits_TSS = _to_frame(logits_T1hw.float(), batch.image_B3SS.shape[-1])
        masks_TSS = batch.masks_TSS.float()
        inside_TSS = _inside(batch, logits_TSS)
        losses_T = segmentation_loss(logits_TSS, masks_TSS, inside_TSS)
        if self.config.quality_weight > 0:
            error_T = (quality_T1[:, 0].float() - overlap(logits_TSS, masks_TSS, inside_TSS)) ** 2
            losses_T = losses_T + self.config.quality_weight * error_T
        return torch.stack([part.mean() for part in torch.split(losses_T, list(batch.counts))])

    def _encode(self, batch: Batch, features_BCHW: Tensor | None) -> Tensor:
        """Embeddings of the images; no gradient reaches what is frozen."""
        learns = torch.is_grad_enabled() and self.config.encoder != "frozen"
        if self.config.encoder != "tail":
            with torch.set_grad_enabled(learns):
                return self.model.encode(batch.image_B3SS) if features_BCHW is None else features_BCHW
        encoder, count = encoder_of(self.model), self.config.tail
        if features_BCHW is None:
            with torch.no_grad():
                features_BCHW = encoder.stem(batch.image_B3SS, count)
        return encoder.tail(features_BCHW, count)

    def _decode(self, features_BCHW: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """All targets: one embedding each where every image has one, else image by image on a shared embedding."""
        if set(batch.counts) == {1} or len(batch.counts) == 1:
            return self.model.decode(features_BCHW, batch.boxes_T4)
        boxes = torch.split(batch.boxes_T4, list(batch.counts))
        parts = [self.model.decode(features_BCHW[i : i + 1], boxes_N4) for i, boxes_N4 in enumerate(boxes)]
        return torch.cat([logits for logits, _ in parts]), torch.cat([quality for _, quality in parts])


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
