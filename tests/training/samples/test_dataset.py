"""Samples: the same input as serving, boxes with noise, an order that one number addresses."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from tiny import CONFIG, MANIFEST, source, spoil_last, tiny_model

from medsam.errors import DataError, InputFileError, IntensityError
from medsam.imaging.frame import Frame
from medsam.imaging.intensity import normalize
from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.io.formats import read_image
from medsam.training.samples.dataset import (
    BalancedOrder,
    Draws,
    Order,
    choose_order,
    count_steps,
    list_draws,
    load_batches,
)
from medsam.training.samples.sources import CaseSource, MixedSource, PictureSource
from medsam.training.samples.sources import UserCase as Pair


def test_training_and_serving_give_the_model_the_same_tensor(discs: Path) -> None:
    seen: list[torch.Tensor] = []

    class Watched(TorchRuntime):
        def encode(self, image_B3SS: torch.Tensor) -> torch.Tensor:
            seen.append(image_B3SS)
            return super().encode(image_B3SS)

    predictor = Predictor(Watched(tiny_model(), device=torch.device("cpu")), MANIFEST, weights="tiny")
    draws = Draws(source(discs, "train"), MANIFEST, CONFIG)
    for draw in range(4):
        batch = draws[draw]
        predictor.embed(read_image(discs / "images" / batch.names[0]).slice_rgb(0))
        assert torch.equal(batch.image_B3SS, seen[-1])


def test_the_mask_and_its_box_lie_on_the_same_place(discs: Path) -> None:
    draws = Draws(source(discs, "train"), MANIFEST, replace(CONFIG, box_noise_px=0.0))
    for draw in range(9):
        batch = draws[draw]
        rows, columns = np.nonzero(batch.masks_TSS[0].numpy())
        tight = [columns.min(), rows.min(), columns.max(), rows.max()]
        assert np.abs(batch.boxes_T4[0].numpy() - tight).max() <= 1.0
        assert batch.inner[0] == Frame(60, 80, 64, "pad").inner_hw == (48, 64)


def test_boxes_move_by_at_most_the_noise(discs: Path) -> None:
    still = Draws(source(discs, "train"), MANIFEST, replace(CONFIG, box_noise_px=0.0))
    noisy = Draws(source(discs, "train"), MANIFEST, replace(CONFIG, box_noise_px=20.0))
    moves = torch.cat([noisy[draw].boxes_T4 - still[draw].boxes_T4 for draw in range(40)])
    limit_xy = torch.tensor([80, 60]) * 20 / 1024 * 64 / 80
    assert (moves.abs() <= limit_xy.repeat(2) + 1e-4).all()
    assert (moves < -0.1).any()
    assert (moves > 0.1).any()


def test_a_share_keeps_the_box_on_a_small_target(discs: Path) -> None:
    config = replace(CONFIG, box_noise_px=400.0)
    still = Draws(source(discs, "train"), MANIFEST, replace(config, box_noise_px=0.0))
    noisy = Draws(source(discs, "train"), MANIFEST, replace(config, box_noise_share=0.1, box_noise="shift"))
    for draw in range(20):
        x0, y0, x1, y1 = still[draw].boxes_T4[0].tolist()
        moves = (noisy[draw].boxes_T4[0] - still[draw].boxes_T4[0]).abs()
        assert (moves <= 0.1 * torch.tensor([x1 - x0, y1 - y0]).repeat(2) + 1e-4).all()
        assert moves.max() > 0.01


def test_several_targets_of_an_image_share_it(discs: Path) -> None:
    one = Draws(source(discs, "train"), MANIFEST, CONFIG)
    many = Draws(source(discs, "train"), MANIFEST, replace(CONFIG, prompts_per_image=5))
    assert {one[d].counts for d in range(9)} == {(1,)}
    assert {many[d].counts for d in range(9)} == {(1,), (2,)}
    batch = next(d for d in (many[d] for d in range(9)) if d.counts == (2,))
    assert batch.masks_TSS.shape == (2, 64, 64)
    assert batch.image_B3SS.shape == (1, 3, 64, 64)


def test_every_epoch_shows_every_unit_once_in_another_order() -> None:
    order = Order(10, seed=3)
    epochs = [[order.unit(10 * epoch + i) for i in range(10)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [pickle.loads(pickle.dumps(order)).unit(d) for d in range(30)] == [
        unit for epoch in epochs for unit in epoch
    ]
    assert order.unit(10**6) == Order(10, seed=3).unit(10**6)


def test_a_draw_is_the_same_whenever_it_is_made(discs: Path) -> None:
    draws, others = (Draws(source(discs, "train"), MANIFEST, CONFIG) for _ in range(2))
    _ = [others[d] for d in range(5)]
    assert torch.equal(draws[20].boxes_T4, others[20].boxes_T4)
    assert not torch.equal(draws[20].boxes_T4, draws[21].boxes_T4)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_the_global_batch_is_the_same_on_any_number_of_processes(world: int) -> None:
    config = replace(CONFIG, global_batch=10, micro_batch=3)
    drawn = [d for rank in range(world) for part in list_draws(4, config, rank, world) for d in part]
    assert sorted(drawn) == list(range(40, 50))
    assert max(len(part) for rank in range(world) for part in list_draws(4, config, rank, world)) <= 3


def test_steps_cover_all_epochs() -> None:
    assert count_steps(1_570_263, replace(CONFIG, global_batch=160, epochs=150)) == 1_472_122
    assert count_steps(9, replace(CONFIG, global_batch=4, epochs=2)) == 5
    assert count_steps(9, replace(CONFIG, global_batch=4, epochs=2, steps=3)) == 3


def test_loader_processes_change_nothing(discs: Path) -> None:
    draws = Draws(source(discs, "train"), MANIFEST, CONFIG)
    ahead = Draws(source(discs, "train"), MANIFEST, replace(CONFIG, workers=2))
    pairs = zip(
        load_batches(draws, range(3), rank=0, world=1), load_batches(ahead, range(3), rank=0, world=1), strict=True
    )
    for here, there in pairs:
        assert here.names == there.names
        assert torch.equal(here.image_B3SS, there.image_B3SS)
        assert torch.equal(here.boxes_T4, there.boxes_T4)


def test_sources_lie_one_after_the_other(discs: Path) -> None:
    train, tune = source(discs, "train"), source(discs, "tune")
    mixed = MixedSource([train, tune])
    assert (len(train), len(tune), len(mixed)) == (9, 3, 12)
    assert Counter(mixed.unit(i).name for i in range(12)) == Counter(f"{i}.png" for i in range(12))
    assert np.array_equal(mixed.read(9).pixels_HW3, tune.read(0).pixels_HW3)


def test_own_cases_are_kept_slice_by_slice(discs: Path) -> None:
    pairs = [Pair(f"{i}", discs / f"images/{i}.png", discs / f"masks/{i}.png") for i in range(4)]
    cases = CaseSource(pairs, modality=None, window=None)
    pictures = source(discs, "train")
    assert [len(cases.read(i).masks) for i in range(4)] == [1, 2, 1, 2]
    for i in range(4):
        assert np.array_equal(cases.read(i).pixels_HW3, pictures.read(i).pixels_HW3)
        assert all(np.array_equal(a, b) for a, b in zip(cases.read(i).masks, pictures.read(i).masks, strict=True))


def test_a_volume_gives_its_slices_with_targets_normalized_as_in_serving(discs: Path, tmp_path: Path) -> None:
    labels = np.zeros((5, 40, 50), np.uint8)
    labels[1:3, 5:25, 10:30] = 1
    values = np.where(labels > 0, 100, -50).astype(np.int16)
    for name, array in (("scan", values), ("mask", labels)):
        nibabel.save(nibabel.Nifti1Image(array.T, np.diag([0.8, 0.8, 2.5, 1.0])), tmp_path / f"{name}.nii.gz")
    pair = Pair("scan", tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz")
    cases = CaseSource([pair], modality="CT", window="soft-tissue")
    assert [cases.unit(i).name for i in range(len(cases))] == ["scan[1]", "scan[2]"]
    image = normalize(read_image(pair.image, modality="CT"), "soft-tissue")
    assert np.array_equal(cases.read(1).pixels_HW3, image.slice_rgb(2))
    assert np.array_equal(cases.read(1).masks[0], labels[2] > 0)
    with pytest.raises(IntensityError, match="window"):
        CaseSource([pair], modality="CT", window=None)


def test_no_target_at_all_is_refused(discs: Path, tmp_path: Path) -> None:
    speck = np.zeros((60, 80), np.uint8)
    speck[:9, :11] = 1  # 99 pixels, one less than a target has
    Picture.fromarray(speck).save(tmp_path / "speck.png")
    rows = [replace(row, mask=tmp_path / "speck.png") for row in source(discs, "train").rows]
    with pytest.raises(DataError, match="no image has a target"):
        PictureSource(rows)
    with pytest.raises(DataError, match="no slice of 1 has a target"):
        CaseSource([Pair("1", discs / "images/1.png", tmp_path / "speck.png")], modality=None, window=None)


def test_groups_are_drawn_equally_often_and_without_repeats() -> None:
    groups = [np.array([0, 1, 2]), np.array([3, 4, 5, 6, 7]), np.array([8])]
    order = BalancedOrder(groups, seed=3)
    drawn = [order.unit(d) for d in range(45)]
    for round_ in range(15):  # a round takes one of each group
        assert [sum(u in group for u in drawn[3 * round_ : 3 * round_ + 3]) for group in groups] == [1, 1, 1]
    for group in groups:  # and a group is gone through before a unit of it comes again
        own = [u for u in drawn if u in group]
        for start in range(0, 15, len(group)):
            assert sorted(own[start : start + len(group)]) == group.tolist()
    assert len({tuple(drawn[d : d + 3]) for d in range(0, 45, 3)}) > 5
    assert drawn != [BalancedOrder(groups, seed=4).unit(d) for d in range(45)]
    again = pickle.loads(pickle.dumps(order))
    assert [again.unit(d) for d in (44, 3, 17)] == [drawn[d] for d in (44, 3, 17)]


@pytest.mark.parametrize(
    ("balance", "kind"), [("none", Order), ("modality", BalancedOrder), ("dataset", BalancedOrder)]
)
def test_the_balance_says_what_groups_are(discs: Path, balance: str, kind: type) -> None:
    one, two = source(discs, "train"), source(discs, "tune")
    two.rows = [replace(row, dataset="others") for row in two.rows]
    order = choose_order(MixedSource([one, two]), replace(CONFIG, balance=balance))  # type: ignore[arg-type]
    assert isinstance(order, kind)
    late = sum(order.unit(d) >= len(one) for d in range(12))
    assert late == {"none": 3, "modality": 3, "dataset": 6}[balance]


@pytest.mark.parametrize("draws", [1, 4, 7, 8, 30])
def test_how_many_different_units_are_drawn(draws: int) -> None:
    groups = [np.arange(2), np.arange(2, 9)]
    for order in (Order(6, 3), BalancedOrder(groups, 3)):
        drawn = len({order.unit(draw) for draw in range(draws)})
        rest = draws % len(groups) if isinstance(order, BalancedOrder) else 0
        assert drawn <= order.different(draws) <= drawn + rest


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_sample_comes_as_it_is_from_loader_processes(discs: Path, workers: int) -> None:
    draws = Draws(spoil_last(source(discs, "train")), MANIFEST, replace(CONFIG, workers=workers))
    with pytest.raises(InputFileError, match="shard 3 is damaged; expected a whole one; curate again"):
        list(load_batches(draws, range(3), rank=0, world=1))
