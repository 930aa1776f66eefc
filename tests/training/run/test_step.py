"""One step: the paper's equations, micro-batches that add up, losses that are not finite, half precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import losses, weights
from tiny import CONFIG, MANIFEST, loss_of, source, tiny_model, train
from torch.nn import functional as F

from medsam.errors import DataError
from medsam.training.learner.trainable import set_trainable
from medsam.training.run.monitor import read_metrics
from medsam.training.samples.dataset import Draws


def test_micro_batches_add_up_to_the_global_batch(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1)
    for micro in (1, 4):
        train(discs, tmp_path / f"{micro}", replace(config, micro_batch=micro))
    one, four = losses(tmp_path / "1"), losses(tmp_path / "4")
    assert max(abs(a - b) for a, b in zip(one, four, strict=True)) < 1e-5


def test_a_step_is_the_papers_equations(discs: Path, tmp_path: Path) -> None:
    """One step of ours against Eq. 1 to 3 and AdamW written out, on the prompts and masks of the same draws."""
    train(discs, tmp_path / "run", replace(CONFIG, epochs=1, global_batch=9, validate_every=9))
    draws = Draws(source(discs, "train"), MANIFEST, CONFIG)
    model = tiny_model()
    total = torch.zeros(())
    for batch in (draws[d] for d in range(9)):
        features = model.image_encoder(batch.image_B3SS)
        logits, _ = model.decode(features, batch.boxes_T4)
        s = torch.sigmoid(F.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False))
        [(height, width)] = batch.inner  # the rest of the frame is padding
        s = s[0, 0, :height, :width].flatten()
        g = batch.masks_TSS[0, :height, :width].flatten().float()
        bce = -(g * s.log() + (1 - g) * (1 - s).log()).sum() / len(s)  # Eq. 1
        overlap = 1 - 2 * (g * s).sum() / ((g**2).sum() + (s**2).sum())  # Eq. 2
        total = total + (bce + overlap) / 9  # Eq. 3
    total.backward()
    assert losses(tmp_path / "run")[0] == pytest.approx(total.item(), abs=1e-6)
    trained, learnt = weights(tmp_path / "run"), 0
    for name, parameter in model.named_parameters():
        if name.startswith("prompt_encoder."):
            assert torch.equal(parameter, trained[name])
            continue
        g = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        # first step of AdamW: both moments corrected for their start are g and g squared
        updated = parameter.detach() * (1 - 2e-3 * 0.01) - 2e-3 * g / (g.abs() + 1e-8)
        clear = g.abs() > 1e-6  # elsewhere the sign of rounding decides
        learnt += int(clear.sum())
        assert (updated - trained[name])[clear].abs().max().item() < 1e-6 if clear.any() else True
    assert learnt > 5000


def test_ten_losses_in_a_row_that_are_not_finite_stop_the_run_with_the_samples(discs: Path, tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.mask_decoder.output_upscaling[0].bias.fill_(float("nan"))
    before = {name: one.clone() for name, one in model.state_dict().items()}
    with pytest.raises(DataError, match=r"10 steps in a row, the last at step 10 \(samples: .*\.png"):
        train(discs, tmp_path / "run", replace(CONFIG, epochs=20, validate_every=99), model=model)
    assert all(torch.equal(torch.nan_to_num(before[n]), torch.nan_to_num(t)) for n, t in model.state_dict().items())
    assert [line["loss"] for line in read_metrics(tmp_path / "run") if "loss" in line] == [None] * 9


def test_half_precision_gives_nearly_the_same_loss(discs: Path) -> None:
    model = set_trainable(tiny_model(), CONFIG)
    full = loss_of(model, discs, CONFIG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss_of(model, discs, CONFIG)
    assert half.dtype == torch.float32
    assert torch.allclose(full, half, rtol=0.05)
