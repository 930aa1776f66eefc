"""From the decoder's low-resolution logits to the pixels of the slice, in the way each model was published.

Shape legend: N prompts, M masks a prompt, h w the decoder's 256 x 256, H rows and W columns of the slice.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from medsam.imaging.frame import Frame, Upsample
from medsam.models.weights.score_tables import ScoreTable

FLOAT_BYTES = 64 * 2**20  # of upsampled values held at once; 500 masks of 2048 x 2048 must not be
STABILITY_OFFSET = 1.0


def to_slice(logits_Nhw: torch.Tensor, frame: Frame, upsample: Upsample) -> torch.Tensor:
    """Bring low-resolution logits to slice pixels.

    Args:
        logits_Nhw: (N, 256, 256), covering the whole model frame, padding included.
        frame: Of the embedding the logits were decoded from.
        upsample: "logits": crop the padding at low resolution, bilinear to the slice (LiteMedSAM). "probabilities":
            the same after a sigmoid (MedSAM). "frame": bilinear to the frame, crop, bilinear to the slice (SAM).

    Returns:
        (N, H, W) float32, above 0 where the mask is: logits, or probability - 0.5 for "probabilities".

    Source: compatibility notes 5.4.
    """
    values = logits_Nhw[:, None].float()  # (N, 1, h, w)
    size_hw = (frame.height, frame.width)
    rows, columns = frame.inner_hw
    if upsample == "frame":
        values = _bilinear(values, (frame.size, frame.size))
        return _bilinear(values[..., :rows, :columns], size_hw)[:, 0]
    if upsample == "probabilities":
        values = values.sigmoid()
    low_rows, low_columns = measure_inner(frame, int(values.shape[-1]))
    values = _bilinear(values[..., :low_rows, :low_columns], size_hw)[:, 0]
    return values - 0.5 if upsample == "probabilities" else values


def measure_inner(frame: Frame, size: int) -> tuple[int, int]:
    """Rows and columns that the slice fills in a frame drawn at another size, rounded up so that none is lost."""
    rows, columns = frame.inner_hw
    return -(-rows * size // frame.size), -(-columns * size // frame.size)


def chunks_to_slice(logits_Nhw: torch.Tensor, frame: Frame, upsample: Upsample) -> Iterator[torch.Tensor]:
    """As to_slice, in pieces (n, H, W) of at most FLOAT_BYTES, in order."""
    largest = max(frame.height * frame.width, frame.size**2 if upsample == "frame" else 1)
    step = max(1, FLOAT_BYTES // (4 * largest))
    for start in range(0, len(logits_Nhw), step):
        yield to_slice(logits_Nhw[start : start + step], frame, upsample)


def estimate_stability(logits_Nhw: torch.Tensor, frame: Frame) -> torch.Tensor:
    """How little a mask changes when its threshold moves: |logit > 1| / |logit > -1|, (N,) float32 in [0, 1].

    An empty mask scores 0. It needs no training, so it is the score of weights whose predicted IoU was never trained.

    Source: the stability score of SAM's automatic mask generator.
    """
    rows, columns = measure_inner(frame, int(logits_Nhw.shape[-1]))
    inner = logits_Nhw[:, :rows, :columns]
    sure = (inner > STABILITY_OFFSET).sum(dim=(1, 2)).float()
    possible = (inner > -STABILITY_OFFSET).sum(dim=(1, 2)).float()
    return sure / possible.clamp(min=1)


def read_expected_iou(scores_N: NDArray[np.float32], table: ScoreTable) -> NDArray[np.float32]:
    """Read scores off a table, straight between its rows and beyond its ends; without a table they stay, (N,) float32."""
    if not table:
        return scores_N
    known, iou = zip(*table, strict=True)
    expected_N: NDArray[np.float32] = np.interp(scores_N, known, iou).astype(np.float32)
    return expected_N


def _bilinear(values_N1hw: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    if tuple(values_N1hw.shape[-2:]) == size_hw:
        return values_N1hw
    return F.interpolate(values_N1hw, size=size_hw, mode="bilinear", align_corners=False)
