"""The weights of our own on real pictures: better than what they began from, also with clicks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medsam.evaluation.evaluate import EvaluationProtocol, prompt_picture
from medsam.evaluation.index import read_index
from medsam.evaluation.measure import Subject, measure_picture
from medsam.inference.predictor import Predictor, load_predictor


def dice_of(predictor: Predictor, folder: Path, protocol: EvaluationProtocol) -> float:
    found = []
    for row in read_index(folder, "val")[:4]:
        picture = prompt_picture(row, protocol)
        if picture is not None:
            subject = Subject(picture.dataset, picture.modality, picture.sample, picture.group, "model")
            found += [s.dice for s in measure_picture(predictor, picture.slice_rgb, picture.targets, subject)[0]]
    return float(np.median(found))


@pytest.fixture(scope="module")
def ours() -> Predictor:
    return load_predictor("openmedsam-lite", device="cpu")


def test_rough_boxes_get_better_masks_than_from_what_it_began_with(ours: Predictor, shared_data: Path) -> None:
    lite = load_predictor("lite-medsam", device="cpu")
    for name in ("path_monuseg", "fundus_drishti"):
        protocol = EvaluationProtocol(noise="both", max_targets=8)
        folder = shared_data / "slices" / name
        assert dice_of(ours, folder, protocol) > dice_of(lite, folder, protocol) + 0.02


def test_a_click_is_answered(ours: Predictor, shared_data: Path) -> None:
    folder = shared_data / "slices/endoscopy_kvasir"
    assert dice_of(ours, folder, EvaluationProtocol(prompts=("point",))) > 0.3


@pytest.mark.parametrize("name", ["openmedsam-lite", "openmedsam-lite-open"])
def test_a_disc_by_box_and_by_click_with_a_score(name: str) -> None:
    ours = load_predictor(name, device="cpu")
    y, x = np.ogrid[:200, :260]
    disc = (y - 90) ** 2 + (x - 140) ** 2 <= 45**2
    noise = np.random.default_rng(0).normal(0, 6, disc.shape)
    grey = np.clip(np.where(disc, 190, 60) + noise, 0, 255).astype(np.uint8)
    embedding = ours.embed(np.repeat(grey[..., None], 3, axis=2))
    masks, scores = ours.decode(embedding, boxes=[(92, 42, 188, 138)])
    assert 2 * (masks[0] & disc).sum() / (masks[0].sum() + disc.sum()) > 0.95
    assert 0.8 < scores[0] <= 1.05
    clicked, _ = ours.decode(embedding, points=[[(140, 90)]], point_labels=[[1]])
    assert (clicked[0] & disc).sum() > 0.9 * clicked[0].sum() > 0  # a part of a drawn disc, and nothing beside it
