"""The paper's Eq. 1 to 3: by hand, and against a plain transcription."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from medsam.training.learner.loss import cross_entropy, dice_loss, measure_iou, segmentation_loss


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_two_pixels_by_hand() -> None:
    logits = torch.tensor([[[logit(0.8), logit(0.4)]]])
    expert, inside = torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2)
    # Eq. 1: -(ln 0.8 + ln 0.6) / 2; Eq. 2: 1 - 2 * 0.8 / (0.64 + 0.16 + 1)
    assert cross_entropy(logits, expert, inside).item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, abs=1e-6)
    assert dice_loss(logits, expert, inside).item() == pytest.approx(1 - 1.6 / 1.8, abs=1e-6)


def paper(s: np.ndarray, g: np.ndarray) -> float:
    """Eq. 1 to 3 as they are printed, in double precision."""
    entropy = -sum(g * math.log(s) + (1 - g) * math.log(1 - s) for s, g in zip(s, g, strict=True)) / len(s)
    dice = 1 - 2 * sum(s * g) / (sum(s**2) + sum(g**2))
    return entropy + dice


def test_equal_to_a_plain_transcription() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (5, 16, 16)).astype(np.float32)
    expert = (rng.random((5, 16, 16)) < 0.3).astype(np.float32)
    ours = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(expert), torch.ones(5, 16, 16))
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    plain = [paper(s.ravel(), g.ravel()) for s, g in zip(probabilities, expert.astype(np.float64), strict=True)]
    assert np.abs(ours.numpy() - plain).max() < 1e-6


def test_padding_does_not_count() -> None:
    logits, expert = torch.randn(2, 8, 8), (torch.rand(2, 8, 8) < 0.5).float()
    inside = torch.zeros(2, 8, 8)
    inside[:, :5, :7] = 1
    cropped = segmentation_loss(logits[:, :5, :7], expert[:, :5, :7], torch.ones(2, 5, 7))
    assert torch.allclose(segmentation_loss(logits, expert, inside), cropped, atol=1e-6)


def test_an_empty_mask_gives_a_finite_loss_and_gradient() -> None:
    logits = torch.full((1, 4, 4), -200.0, requires_grad=True)
    segmentation_loss(logits, torch.zeros(1, 4, 4), torch.ones(1, 4, 4)).sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_overlap_by_hand() -> None:
    logits = torch.tensor([[[1.0, 1.0, -1.0, -1.0]]])
    expert = torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])
    assert measure_iou(logits, expert, torch.ones(1, 1, 4)).item() == pytest.approx(1 / 3)
