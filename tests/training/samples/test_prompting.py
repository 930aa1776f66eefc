"""Prompts of training: clicks that hit, errors that are found, and losses that are what a reader computes by hand."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import losses, run_script, same, weights
from tiny import CONFIG, MANIFEST, source, tiny_model, train

from medsam.evaluation.metrics import dice
from medsam.inference.predictor import Predictor
from medsam.inference.prompts import make_mask_logits
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.models.networks.medsam import MedSAM
from medsam.training.config import TrainConfig
from medsam.training.learner.base_model import new_manifest
from medsam.training.learner.loss import segmentation_loss
from medsam.training.learner.objective import Objective
from medsam.training.learner.trainable import list_trainable, set_trainable
from medsam.training.run import sealed
from medsam.training.run.validation import measure_source
from medsam.training.samples.dataset import Draws, join_batches
from medsam.training.samples.prompting import (
    Shown,
    TargetGroup,
    find_correction,
    group_targets,
    place_clicks,
    spoil_mask,
)

ALL = replace(CONFIG, prompts=("box", "point", "mask"), clicks=3, prompts_per_image=2)


def block(*box: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def test_the_largest_error_is_clicked_in_its_middle() -> None:
    none = block(0, 0, 0, 0)
    missed = block(10, 4, 17, 11) | block(30, 30, 33, 33)
    assert find_correction(missed, none) == (13, 7, 1)
    assert find_correction(block(30, 30, 33, 33), missed) == (13, 7, 0)
    assert find_correction(missed, block(0, 20, 9, 29)) == (4, 24, 0)  # 81 pixels are more than 49
    assert find_correction(block(1, 1, 4, 4), block(20, 20, 23, 23)) == (
        2,
        2,
        1,
    )  # as large: what was missed goes first
    assert find_correction(block(39, 0, 40, 1), none) == (39, 0, 1)
    assert find_correction(none, none)[2] == -1


def test_clicks_lie_where_their_labels_say() -> None:
    y, x = np.ogrid[:60, :80]
    distance = np.hypot(y - 30, x - 40)
    ring = (distance < 20) & (distance > 10)
    seen: Counter[int] = Counter()
    core = 0
    for seed in range(200):
        clicks = place_clicks(ring, 3, np.random.default_rng(seed))
        assert clicks[0][1] == 1
        for (cx, cy), label in clicks:
            assert ring[int(cy), int(cx)] == (label == 1)
            assert 14 <= cx <= 66  # the ring's box is 21 to 59, and a tenth of its side is 3
            seen[label] += 1
        core += abs(distance[int(clicks[0][0][1]), int(clicks[0][0][0])] - 15) < 3
    assert core > 0.75 * 200
    assert 0.25 < seen[0] / 400 / 0.75 < 0.8
    assert place_clicks(ring, 0, np.random.default_rng(0)) == []


def test_one_pixel_and_a_whole_picture_can_be_clicked_and_spoiled() -> None:
    corner, whole = block(39, 39, 40, 40), np.ones((1, 7), bool)
    for seed in range(20):
        assert place_clicks(corner, 2, np.random.default_rng(seed))[0] == ((39, 39), 1)
        assert all(label == 1 for _, label in place_clicks(whole, 4, np.random.default_rng(seed)))
        assert spoil_mask(corner, np.random.default_rng(seed)).any()
        assert spoil_mask(whole, np.random.default_rng(seed)).any()


def test_a_spoiled_mask_is_wrong_at_its_border_only() -> None:
    disc = np.hypot(*np.ogrid[-30:31, -30:31]) < 20
    depth = np.hypot(*np.ogrid[-30:31, -30:31])
    grown = shrunk = 0
    for seed in range(50):
        mask = spoil_mask(disc, np.random.default_rng(seed))
        assert mask[depth < 13].all()  # 0.3 of a depth of 20 is 6
        assert not mask[depth > 27].any()
        assert 0.6 < dice(mask, disc) < 1
        grown, shrunk = grown + (mask & ~disc).any(), shrunk + (disc & ~mask).any()
    assert grown > 30
    assert shrunk > 30


def test_targets_shown_the_same_are_decoded_together() -> None:
    box, click = Shown(), Shown(box=False, clicks=1)
    assert group_targets((1, 1, 1), (box, click, box)) == [
        TargetGroup((0, 2), (0, 2), box),
        TargetGroup((1,), (1,), click),
    ]
    assert group_targets((2, 1), (box, box, box)) == [TargetGroup((0,), (0, 1), box), TargetGroup((1,), (2,), box)]
    assert group_targets((3,), (click, box, click)) == [TargetGroup((0,), (0, 2), click), TargetGroup((0,), (1,), box)]


def test_kinds_and_clicks_are_a_function_of_the_draw(discs: Path) -> None:
    draws, others = (Draws(source(discs, "train"), MANIFEST, ALL) for _ in range(2))
    _ = [others[d] for d in range(3)]
    seen: Counter[Shown] = Counter()
    for draw in range(40):
        one, again = draws[draw].prompts, others[draw].prompts
        assert one is not None
        assert again is not None
        assert one.shown == again.shown
        assert torch.equal(one.points_TP2, again.points_TP2)
        assert one.masks_TSS is not None
        seen.update(one.shown)
        for t, shown in enumerate(one.shown):
            assert ((one.labels_TP[t] >= 0).sum() == shown.clicks).item()
            assert one.masks_TSS[t].any().item() == shown.mask
            if shown.clicks:
                x, y = one.points_TP2[t, 0].round().long().tolist()
                assert draws[draw].masks_TSS[t, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any()
    assert {shown[:2] for shown in seen} == {(True, 0), (False, 1), (False, 2), (False, 3)}
    assert seen[Shown(mask=True)] > 5
    # the paper's boxes stay what they were
    plain = Draws(source(discs, "train"), MANIFEST, replace(ALL, prompts=("box",), clicks=1))
    assert plain[5].prompts is None
    assert torch.equal(plain[5].boxes_T4, draws[5].boxes_T4)


def loss_alone(model: MedSAM, config: TrainConfig, draws: Draws, draw: int) -> torch.Tensor:
    return Objective(model, config)(draws[draw])


@pytest.mark.parametrize("several", [1, 2])
@pytest.mark.parametrize("corrections", [0, 2])
def test_losses_do_not_depend_on_the_batch(discs: Path, several: int, corrections: int) -> None:
    config = replace(ALL, prompts_per_image=several, corrections=corrections)
    model = set_trainable(tiny_model(), config)
    draws = Draws(source(discs, "train"), MANIFEST, config)
    with torch.no_grad():
        joined = Objective(model, config)(join_batches([draws[d] for d in range(8)]))
        alone = torch.cat([loss_alone(model, config, draws, d) for d in range(8)])
    assert torch.allclose(joined, alone, atol=1e-5)


def test_a_correction_by_hand(discs: Path) -> None:
    config = replace(CONFIG, corrections=1)
    model = set_trainable(tiny_model(), config)
    batch = Draws(source(discs, "train"), MANIFEST, config)[0]
    expert, inside = batch.masks_TSS.float(), torch.zeros(1, 64, 64)
    inside[:, :48] = 1  # 60 x 80 pixels in a frame of 64
    with torch.no_grad():
        features = model.encode(batch.image_B3SS)
        first = model.decode(features, batch.boxes_T4)[0]
        large = torch.nn.functional.interpolate(first, size=(64, 64), mode="bilinear")[:, 0]
        found = (large > 0) & (inside > 0)
        x, y, label = find_correction(((expert > 0) & ~found)[0].numpy(), (found & (expert == 0))[0].numpy())
        assert label != -1
        click = torch.tensor([[[x, y]]]), torch.tensor([[label]])
        second = model.decode(features, batch.boxes_T4, *click, first)[0]
        enlarged = torch.nn.functional.interpolate(second, size=(64, 64), mode="bilinear")[:, 0]
        by_hand = (segmentation_loss(large, expert, inside) + segmentation_loss(enlarged, expert, inside)) / 2
        assert torch.allclose(Objective(model, config)(batch), by_hand, atol=1e-6)
        assert not torch.allclose(Objective(model, replace(config, corrections=0))(batch), by_hand, atol=1e-4)


def test_clicks_and_masks_reach_the_decoder_as_in_serving(discs: Path) -> None:
    model = set_trainable(tiny_model(), ALL)
    config = replace(ALL, prompts_per_image=1)
    draws = Draws(source(discs, "train"), MANIFEST, config)
    kinds = set()
    for draw in range(12):
        batch = draws[draw]
        assert batch.prompts is not None
        assert batch.prompts.masks_TSS is not None
        shown, kinds = batch.prompts.shown[0], kinds | {batch.prompts.shown[0]._replace(clicks=0)}
        points = (batch.prompts.points_TP2[:, : shown.clicks], batch.prompts.labels_TP[:, : shown.clicks])
        with torch.no_grad():
            features = model.encode(batch.image_B3SS)
            served, _ = model.decode(
                features,
                batch.boxes_T4 if shown.box else None,
                *(points if shown.clicks else (None, None)),
                make_mask_logits(batch.prompts.masks_TSS, 32) if shown.mask else None,
            )
            ours, _ = Objective(model, config)._decode(features, batch, batch.prompts)
        assert torch.equal(ours, served)
    assert len(kinds) == 3


@pytest.mark.parametrize("full", [False, True])
def test_only_what_prompts_use_of_the_prompt_encoder_learns(discs: Path, tmp_path: Path, full: bool) -> None:
    config = replace(CONFIG, epochs=1, prompts=("point",), prompt_encoder="full" if full else "frozen")
    train(discs, tmp_path / "run", config)
    start, end = tiny_model().state_dict(), weights(tmp_path / "run")
    changed = {name for name in start if not torch.equal(start[name], end[name]) and name.startswith("prompt_encoder")}
    used = {"point_embeddings.1.weight", "not_a_point_embed.weight", "no_mask_embed.weight"}
    assert changed == ({f"prompt_encoder.{name}" for name in used} if full else set())
    every = replace(ALL, prompt_encoder="full")
    learnt = [name for name in list_trainable(set_trainable(tiny_model(), every)) if name.startswith("prompt_encoder")]
    assert len(learnt) == 6 + len(list(tiny_model().prompt_encoder.mask_downscaling.parameters()))


def test_the_manifest_says_which_prompts_were_learnt() -> None:
    def said(**changes: object) -> tuple[str, ...]:
        return new_manifest(MANIFEST, replace(CONFIG, **changes)).prompts  # type: ignore[arg-type]

    assert said() == ("box",)
    assert said(prompts=("point", "box")) == ("box", "point")
    assert said(corrections=1) == ("box", "point", "mask")
    assert said(prompts=("point",), corrections=1) == ("point", "mask")
    assert said(prompts=("mask", "box")) == ("box", "mask")


def test_a_model_of_clicks_is_measured_by_clicks(discs: Path) -> None:
    asked = []

    class Watched(TorchRuntime):
        def decode(self, features_1CHW, prompts, *, multimask):  # type: ignore[no-untyped-def]
            asked.append(prompts.kinds)
            return super().decode(features_1CHW, prompts, multimask=multimask)

    predictor = Predictor(Watched(tiny_model(), device=torch.device("cpu")), MANIFEST, weights="tiny")
    for prompts in (("box", "point"), ("point",)):
        list(measure_source(predictor, source(discs, "tune"), replace(CONFIG, prompts=prompts)))
    assert asked == [("box",)] * 3 + [("point",)] * 3


def test_it_learns_on_kept_embeddings_and_goes_on_exactly(discs: Path, tmp_path: Path) -> None:
    config = replace(
        ALL, corrections=1, prompt_encoder="full", encoder="frozen", cache_embeddings=True, epochs=3, save_every=3,
        cache_folder=str(tmp_path / "kept"),
    )  # fmt: skip
    train(discs, tmp_path / "whole", config)
    train(discs, tmp_path / "cut", config)
    last = sealed.list_checkpoints(tmp_path / "cut")[-1]
    (last / "state.json").write_text("{}")
    train(discs, tmp_path / "cut", config, resume=True)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    train(discs, tmp_path / "plain", replace(config, cache_embeddings=False, cache_folder=""))
    kept, plain = losses(tmp_path / "whole"), losses(tmp_path / "plain")
    assert max(abs(a - b) for a, b in zip(kept, plain, strict=True)) < 1e-5
    assert kept[-1] < kept[0]


@pytest.mark.integration
def test_two_processes_are_as_one(discs: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run_script("prompts", tmp_path, port, 0, discs)
    one, two = (losses(tmp_path / name) for name in ("one", "two"))
    assert len(one) == 5
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-5
