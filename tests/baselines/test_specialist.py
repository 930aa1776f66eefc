from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medsam.baselines.specialist import (
    Specialist,
    SpecialistManifest,
    build_network,
    is_specialist,
    load_specialist,
    read_manifest,
    save_specialist,
)
from medsam.baselines.unet import UNetPlan
from medsam.errors import CheckpointError, GeometryError, PromptError
from medsam.evaluation.segmenters import load_segmenter

PLAN = UNetPlan((16, 24), ((1, 1), (2, 2)), (4, 8), 2)
MANIFEST = SpecialistManifest("tiny", "unet", PLAN, modality="endoscopy", epochs=1, steps=3, seconds=0.5, seed=7)
CPU = torch.device("cpu")


class AnswersItsBox(nn.Module):
    """A network whose mask is the box channel."""

    def forward(self, x_N4hw: Tensor) -> Tensor:
        return x_N4hw[:, 3:] * 18 - 9


def test_each_box_is_answered_in_slice_pixels() -> None:
    specialist = Specialist(AnswersItsBox(), MANIFEST, CPU)
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    boxes = np.array([[2, 2, 21, 15]] + [[30, 10, 45, 27]] * 5, dtype=float)
    masks, scores = specialist.decode(specialist.embed(picture), boxes=boxes)
    assert masks.shape == (6, 32, 48) and masks.dtype == bool
    np.testing.assert_array_equal(masks[0, 5], (np.arange(48) >= 2) & (np.arange(48) <= 21))
    np.testing.assert_array_equal(masks[1], masks[5])
    assert scores.shape == (6,) and np.isnan(scores).all()


def test_clicks_and_other_pictures_are_refused() -> None:
    specialist = Specialist(AnswersItsBox(), MANIFEST, CPU)
    picture = specialist.embed(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(PromptError, match="no box"):
        specialist.decode(picture, points=[[(1, 1)]], point_labels=[[1]])
    with pytest.raises(GeometryError, match="float64"):
        specialist.embed(np.zeros((8, 8, 3)))


def test_a_file_gives_the_same_specialist_with_its_record(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("unet", PLAN)
    written = save_specialist(network, MANIFEST, tmp_path / "a.safetensors")
    assert read_manifest(tmp_path / "a.safetensors") == written
    assert written.sha256 is not None and len(written.sha256) == 64 and written.seed == 7 and written.plan == PLAN
    loaded = load_segmenter(tmp_path / "a.safetensors", device="cpu").segmenter
    assert isinstance(loaded, Specialist)
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype(np.uint8)
    boxes = np.array([[2.0, 3, 15, 17]])
    own = Specialist(network, MANIFEST, CPU)
    np.testing.assert_array_equal(
        loaded.decode(loaded.embed(picture), boxes=boxes)[0], own.decode(own.embed(picture), boxes=boxes)[0]
    )


def test_other_weights_are_no_specialist(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert not is_specialist(tmp_path / "other.safetensors")
    assert not is_specialist(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match="holds no specialist"):
        load_specialist(tmp_path / "other.safetensors", CPU)


def test_weights_that_do_not_fit_their_plan_are_refused(tmp_path: Path) -> None:
    wider = SpecialistManifest("wide", "unet", UNetPlan((16, 24), ((1, 1), (2, 2)), (8, 16), 2))
    save_specialist(build_network("unet", PLAN), wider, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="does not fit its own plan"):
        load_specialist(tmp_path / "a.safetensors", CPU)


def test_a_header_of_another_version_is_refused() -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        SpecialistManifest.from_json('{"name": "a", "network": "unet"}')
