"""Targets of a mask by hand, and prompts that depend on the picture and the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.evaluation.targets import BoxNoise, find_targets, generator_for, prompt_targets, simulate_boxes


def discs() -> np.ndarray:
    """Label 1 twice, label 2 once where they touch by a corner, and a speck of label 3."""
    labels = np.zeros((60, 80), np.uint8)
    labels[5:20, 5:20] = 1
    labels[40:55, 40:60] = 1
    labels[20:35, 20:30] = 2
    labels[0, 70] = 3
    return labels


def test_components_of_classes_are_targets_in_order_of_label_and_place():
    found = find_targets(discs(), "labels")
    assert [int(mask.sum()) for mask in found] == [225, 300, 150]
    assert found[0][5, 5]
    assert found[1][40, 40]
    assert [int(mask.sum()) for mask in find_targets(discs(), "labels", min_pixels=1)] == [225, 300, 150, 1]


def test_neighbours_by_a_corner_are_one_component():
    labels = np.kron(np.eye(2, dtype=np.uint8), np.ones((10, 10), np.uint8))
    assert [int(mask.sum()) for mask in find_targets(labels, "labels")] == [200]


def test_instances_are_targets_by_id_from_ten_pixels_on():
    labels = np.zeros((6, 10), np.uint16)
    labels[0, :10], labels[2, :9], labels[4, :5], labels[5, 5:] = 7, 8, 300, 300
    assert [int(mask.sum()) for mask in find_targets(labels, "instances")] == [10, 10]  # 300 lies in two pieces


def test_an_empty_mask_has_no_target():
    assert find_targets(np.zeros((5, 5), np.uint8), "labels") == find_targets(np.zeros((5, 5)), "instances") == []


def test_the_generator_of_a_picture_depends_on_its_name_and_the_seed():
    first, again = (generator_for("us", "1.png", 3).random() for _ in range(2))
    others = [generator_for(*key).random() for key in (("us", "2.png", 3), ("ct", "1.png", 3), ("us", "1.png", 3, 1))]
    assert first == again
    assert first not in others


def test_boxes_without_noise_are_tight_and_noise_moves_sides_outwards_only():
    masks = find_targets(discs(), "labels")
    tight = simulate_boxes(masks, BoxNoise(0.0), np.random.default_rng(0))
    assert tight[0].tolist() == [5, 5, 19, 19]
    noisy = simulate_boxes(masks, BoxNoise(200.0, "enlarge"), np.random.default_rng(0))
    assert (noisy[:, :2] <= tight[:, :2]).all()
    assert (noisy[:, 2:] >= tight[:, 2:]).all()
    assert not np.array_equal(noisy, tight)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_target_gets_a_box_or_a_click_deepest_inside(seed):
    masks = dict(enumerate(find_targets(discs(), "labels")))
    boxed = prompt_targets(masks, "box", BoxNoise(), generator_for("us", "1.png", seed))
    assert boxed.points is None
    assert boxed.boxes_N4.shape == (3, 4)
    clicked = prompt_targets(masks, "point", BoxNoise(), generator_for("us", "1.png", seed))
    assert clicked.boxes_N4 is None
    assert clicked.points[0] == [(12.0, 12.0)]
