"""SAM as a comparator: a checkpoint in the released layout of keys, measured with SAM's own pre-processing.

The weights are random, so the masks mean nothing; that they are the ones of SAM's own way from picture to mask is tested.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from random_weights import fill

from medsam.cli.app import run
from medsam.evaluation.metrics import dice
from medsam.models.networks.medsam import MedSAM, build

pytestmark = pytest.mark.integration
HEIGHT, WIDTH, SIDE = 96, 128, 1024  # 128 columns become 1024
FACTOR = SIDE // WIDTH
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@torch.inference_mode()
def answer_as_released(sam: MedSAM, pixels_HW3: np.ndarray, box: list[float]) -> np.ndarray:
    """SamPredictor's steps by hand: longest side to 1024, ImageNet statistics, padding, one mask, back, cut at 0."""
    inner = (FACTOR * WIDTH, FACTOR * HEIGHT)
    large = np.asarray(Picture.fromarray(pixels_HW3).resize(inner, Picture.Resampling.BILINEAR), np.float32)
    frame = torch.zeros(1, 3, SIDE, SIDE)
    frame[0, :, : inner[1], : inner[0]] = torch.from_numpy((large - MEAN) / STD).permute(2, 0, 1)
    boxes = torch.tensor([box]) * FACTOR
    logits, _ = sam.decode(sam.encode(frame), boxes, None, None, None, multimask=False)
    back = torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=False)
    back = back[..., : inner[1], : inner[0]]
    back = torch.nn.functional.interpolate(back, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    return (back[0, 0] > 0).numpy()


def test_a_released_checkpoint_is_measured_with_its_own_preprocessing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    sam = fill(build("vit_b", initialise=False))
    torch.save(sam.state_dict(), tmp_path / "sam.pth")
    assert run(["models", "import", str(tmp_path / "sam.pth"), "--name", "sam", "--like", "sam-vit-b"]) == 0
    (tmp_path / "sam.pth").unlink()
    expert = np.zeros((HEIGHT, WIDTH), np.uint8)
    expert[30:70, 40:90] = 1
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for place, array in (("images", pixels), ("masks", expert)):
        (tmp_path / "us_one" / place).mkdir(parents=True)
        Picture.fromarray(array).save(tmp_path / "us_one" / place / "a.png")
    out = tmp_path / "out"
    command = ["evaluate", str(tmp_path / "us_one"), "--models", "sam", "--prompt", "margin+0", "-o", str(out)]
    assert run(command) == 0
    found = np.load(out / "masks/sam/us_one/a.png.npz")["masks"][0]
    assert 0 < found.sum() < found.size
    assert dice(found, answer_as_released(sam, pixels, [40.0, 30.0, 89.0, 69.0])) > 0.999
