"""Augmentation: picture and masks move alike, nothing is lost, and all of it is a function of seed and draw number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CONFIG, MANIFEST, source

from medsam.imaging.boxes import box_from_mask
from medsam.training.config import TrainConfig
from medsam.training.samples.augmentation import (
    STRENGTHS,
    Strength,
    augment,
    make_backward_matrix,
    turn,
    warp,
    warp_mask,
)
from medsam.training.samples.dataset import Batch, Draws
from medsam.training.samples.sources import TrainingSlice

STILL = Strength(0, 0, 0, 0, 0, 0, 0, 0, 0, chance=1.0)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def target(height: int, width: int, box: tuple[int, int, int, int]) -> TrainingSlice:
    """A bright rectangle, marked."""
    mask = np.zeros((height, width), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return TrainingSlice(grey(np.where(mask, 200, 50)), [mask])


def test_eight_ways_to_lay_a_picture_by_hand() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]])
    found = [turn(grey(values), [values > 4], way) for way in range(8)]
    assert [pixels[..., 0].tolist() for pixels, _ in found] == [
        [[1, 2, 3], [4, 5, 6]], [[3, 6], [2, 5], [1, 4]], [[6, 5, 4], [3, 2, 1]], [[4, 1], [5, 2], [6, 3]],
        [[3, 2, 1], [6, 5, 4]], [[1, 4], [2, 5], [3, 6]], [[4, 5, 6], [1, 2, 3]], [[6, 3], [5, 2], [4, 1]],
    ]  # fmt: skip
    for pixels, (mask,) in found:
        assert np.array_equal(mask, pixels[..., 0] > 4)


def test_a_move_by_hand() -> None:
    values = np.arange(1, 17).reshape(4, 4)
    quarter = make_backward_matrix(4, 4, zoom=1, degrees=90, shift_xy=(0, 0))
    assert np.abs(warp(grey(values), quarter)[..., 0].astype(int) - np.rot90(values)).max() <= 1  # Pillow rounds down
    assert np.array_equal(warp_mask(values > 9, quarter), np.rot90(values > 9))
    aside = make_backward_matrix(4, 4, zoom=1, degrees=0, shift_xy=(1, 0))  # to the right; the darkest value comes in
    assert warp(grey(values), aside)[0, :, 0].tolist() == [1, 1, 2, 3]
    assert warp_mask(values > 10, aside)[2].tolist() == [False, False, False, True]  # 9 10 11 12 before
    twice = make_backward_matrix(4, 4, zoom=2, degrees=0, shift_xy=(0, 0))  # the middle four pixels fill the mask
    middle = np.zeros((4, 4), bool)
    middle[1:3, 1:3] = True
    assert warp_mask(middle, twice).all()


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_picture_and_mask_move_alike(strength: str) -> None:
    only_places = {
        "contrast": 0, "brightness": 0, "gamma": 0, "blur_px": 0, "noise": 0, "colour": 0, "chance": 1, "jpeg": 0
    }  # fmt: skip
    geometry = replace(STRENGTHS[strength], **only_places)  # type: ignore[index, arg-type]
    slice_ = target(60, 100, (20, 15, 60, 40))
    boxes = set()
    for seed in range(40):
        moved = augment(slice_, geometry, np.random.default_rng(seed))
        bright, mask = moved.pixels_HW3[..., 0] > 125, moved.masks[0]
        assert (bright & mask).sum() / (bright | mask).sum() > 0.93
        boxes.add(tuple(box_from_mask(mask).tolist()))
    assert len(boxes) > 30


def test_the_only_target_is_never_lost_nor_cut_by_half() -> None:
    slice_ = target(64, 64, (0, 0, 6, 6))  # in the corner, where a shift or a zoom cuts
    moved = 0
    for seed in range(200):
        (mask,) = augment(slice_, STRENGTHS["strong"], np.random.default_rng(seed)).masks
        moved += mask.sum() != 36
        assert mask.sum() >= 0.5 * 36 / 1.3**2
    assert moved > 20


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 1)])
def test_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    slice_ = target(*shape, (0, 0, 1, 1))
    for seed in range(30):
        moved = augment(slice_, STRENGTHS["strong"], np.random.default_rng(seed))
        assert max(moved.pixels_HW3.shape[:2]) <= max(shape)
        assert moved.masks[0].shape == moved.pixels_HW3.shape[:2]
        assert moved.pixels_HW3.dtype == np.uint8
        assert moved.masks[0].any()


def test_grey_stays_grey_and_only_colours_are_jittered() -> None:
    slice_ = target(40, 40, (10, 10, 30, 30))
    colours = replace(STILL, colour=0.2)
    for seed in range(20):
        assert np.ptp(augment(slice_, STRENGTHS["strong"], np.random.default_rng(seed)).pixels_HW3, axis=2).max() == 0
    still = augment(slice_, colours, np.random.default_rng(1)).pixels_HW3
    assert set(np.unique(still)) == {50, 200}
    red = TrainingSlice(slice_.pixels_HW3 * np.array([1, 0, 0], np.uint8), slice_.masks)
    assert not set(np.unique(augment(red, colours, np.random.default_rng(1)).pixels_HW3)) <= {0, 50, 200}


def test_each_change_is_within_its_limit() -> None:
    flat = TrainingSlice(grey(np.full((30, 30), 100)), [np.ones((30, 30), bool)])
    seen = np.array(
        [augment(flat, replace(STILL, brightness=0.1), np.random.default_rng(s)).pixels_HW3[0, 0, 0] for s in range(99)]
    )
    assert 74 <= seen.min() < 80  # 100 - 25.5
    assert 120 < seen.max() <= 126
    noisy = augment(flat, replace(STILL, noise=10), np.random.default_rng(0)).pixels_HW3.astype(float)
    assert 0 < noisy.std() < 10.5
    for way in range(5):
        same = augment(flat, STILL, np.random.default_rng(way))
        assert np.array_equal(same.pixels_HW3, flat.pixels_HW3)


def test_a_draw_and_its_box_are_a_function_of_its_number(discs: Path) -> None:
    config = replace(CONFIG, augmentation="strong", box_noise_px=0.0, prompts_per_image=2)
    draws, others = (Draws(source(discs, "train"), MANIFEST, config) for _ in range(2))
    plain = Draws(source(discs, "train"), MANIFEST, replace(config, augmentation="none"))
    _ = [others[d] for d in range(3)]
    for draw in range(12):
        one, again = draws[draw], others[draw]
        assert torch.equal(one.image_B3SS, again.image_B3SS)
        assert torch.equal(one.masks_TSS, again.masks_TSS)
        assert not torch.equal(one.image_B3SS, plain[draw].image_B3SS)
        assert one.counts <= plain[draw].counts  # a crop may leave one out
        for mask, box in zip(one.masks_TSS.numpy(), one.boxes_T4.numpy(), strict=True):
            assert np.abs(box_from_mask(mask) - box).max() <= 1.0


def test_a_crop_holds_its_target_and_leaves_out_what_it_cuts() -> None:
    near, far, cut = np.zeros((3, 200, 200), bool)
    near[50:60, 50:70], far[190:200, 190:200], cut[40:80, 72:160] = True, True, True
    both = TrainingSlice(grey(np.where(near | far | cut, 200, 50)), [near])
    crops = [augment(both, replace(STILL, crop=1.0), np.random.default_rng(seed)) for seed in range(60)]
    sides = [max(one.pixels_HW3.shape[:2]) for one in crops]
    assert min(sides) == 48  # 1.5 times 20 would be 30
    assert 90 < max(sides) <= 100  # 5 times 20
    assert all(one.masks[0].sum() == 200 and one.masks[0].shape == one.pixels_HW3.shape[:2] for one in crops)
    assert len({tuple(box_from_mask(one.masks[0]).tolist()) for one in crops}) > 40  # and lies anywhere in it
    three = replace(both, masks=[near, far, cut])
    seen = [augment(three, replace(STILL, crop=1.0), np.random.default_rng(seed)).masks for seed in range(60)]
    assert {len(masks) for masks in seen} >= {1, 2}
    for masks in seen:
        assert all(mask.sum() >= 0.5 * min((200, 100, 3520), key=lambda n: abs(n - mask.sum())) for mask in masks)


def test_jpeg_leaves_blocks_and_keeps_grey() -> None:
    rng = np.random.default_rng(0)
    slice_ = TrainingSlice(grey(rng.integers(0, 255, (32, 32))), [np.ones((32, 32), bool)])
    worst = augment(slice_, replace(STILL, jpeg=1), np.random.default_rng(3)).pixels_HW3
    assert np.ptp(worst, axis=2).max() == 0
    ways = [turn(slice_.pixels_HW3, slice_.masks, way)[0].astype(int) for way in range(8)]
    assert 1 < min(np.abs(way - worst).mean() for way in ways) < 64  # of one of the ways it was laid; by chance 85


def test_kept_views_are_the_same_for_every_seed_and_the_first_is_the_picture(discs: Path) -> None:
    config = replace(
        CONFIG, encoder="frozen", cache_embeddings=True, augmentation="strong", views=3, prompts_per_image=2
    )
    plain = {row.slices[0].tobytes() for row in _draws(discs, replace(config, augmentation="none", views=0), 0)}
    shown = [{row.slices[0].tobytes() for row in _draws(discs, config, seed)} for seed in (0, 1)]
    assert plain < shown[0] | shown[1]
    assert len(shown[0] | shown[1]) <= 3 * len(plain)  # two seeds draw from the same views
    assert len(shown[0] - plain) > len(plain)


def _draws(folder: Path, config: TrainConfig, seed: int) -> list[Batch]:
    draws = Draws(source(folder, "train"), MANIFEST, replace(config, seed=seed))
    return [draws[d] for d in range(60)]
