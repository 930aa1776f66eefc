from __future__ import annotations

import numpy as np
import pytest
import torch

from medsam.baselines.box_channel import BoxChannelInput, fill_boxes
from medsam.errors import PromptError
from medsam.imaging.boxes import box_from_mask


def test_the_box_of_a_mask_covers_its_pixels_and_no_other() -> None:
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:7] = True
    filled = fill_boxes(box_from_mask(mask)[None], 8, 10)
    assert filled.shape == (1, 8, 10)
    np.testing.assert_array_equal(filled[0], mask)


def test_a_box_is_drawn_at_the_resolution_of_the_network() -> None:
    frame = BoxChannelInput((4, 5), "area", "unit")
    channel = frame.boxes_to_network(np.array([[0, 0, 3, 7], [9, 7, 10, 8]]), 8, 10)
    assert channel.dtype == np.float32
    # columns of the network lie at 0.5, 2.5, 4.5, ... of the slice
    np.testing.assert_array_equal(channel[0], np.array([[1, 1, 0, 0, 0]] * 4))
    assert channel[1].sum() == 1 and channel[1, 3, 4] == 1


def test_a_box_smaller_than_a_pixel_of_the_network_covers_the_nearest() -> None:
    assert fill_boxes(np.array([[40, 40, 41, 41]]), 100, 100, (2, 2))[0].tolist() == [[True, False], [False, False]]


def test_a_box_outside_the_slice_is_refused() -> None:
    with pytest.raises(PromptError, match="leaves the image"):
        fill_boxes(np.array([[0, 0, 11, 4]]), 8, 10)


def test_values_are_z_scores_of_each_channel_or_shares_of_255() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, :, 0] = 255
    score = BoxChannelInput((2, 2), "bicubic", "z-score").image_to_network(picture)
    np.testing.assert_allclose(score[0], [[1, 1], [-1, -1]])
    np.testing.assert_array_equal(score[1], np.zeros((2, 2)))  # a channel of one value stays finite
    np.testing.assert_array_equal(BoxChannelInput((2, 2), "area", "unit").image_to_network(picture)[0, 0], [1, 1])


def test_logits_become_masks_of_the_slice() -> None:
    logits = torch.tensor([[[[9.0, -9.0], [9.0, -9.0]]]])
    masks = BoxChannelInput((2, 2), "area", "unit").logits_to_masks(logits, 4, 6)
    assert masks.shape == (1, 4, 6)
    np.testing.assert_array_equal(masks[0, 0], [True, True, True, False, False, False])
