"""From low-resolution logits to the slice: each way of the three, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsam.imaging.frame import Frame
from medsam.inference.logits import chunks_to_slice, estimate_stability, read_expected_iou, to_slice


def step_logits() -> torch.Tensor:
    """Left half -4, right half +4, of the whole 256 x 256 frame."""
    logits = torch.full((1, 256, 256), -4.0)
    logits[:, :, 128:] = 4.0
    return logits


def test_padding_is_cropped_before_logits_grow_to_the_slice():
    frame = Frame(100, 50, 256, "pad")  # fills 256 rows and 128 columns: the left, negative half
    assert to_slice(step_logits(), frame, "logits").shape == (1, 100, 50)
    assert (to_slice(step_logits(), frame, "logits") == -4).all()
    assert (to_slice(step_logits(), Frame(50, 100, 256, "pad"), "logits") > 0).sum() == 50 * 50


def test_squashed_probabilities_fill_the_slice():
    values = to_slice(step_logits(), Frame(10, 40, 1024, "squash"), "probabilities")
    assert values.shape == (1, 10, 40) and (values > 0).sum() == 10 * 20
    assert values[0, 0, -1].item() == pytest.approx(torch.tensor(4.0).sigmoid().item() - 0.5)


def test_sam_goes_through_the_frame():
    frame = Frame(64, 32, 1024, "pad", scaling="mean-std")  # fills 1024 x 512: the negative half
    values = to_slice(step_logits(), frame, "frame")
    assert values.shape == (1, 64, 32) and (values[:, :, :-1] <= -3.9).all()


def test_probabilities_and_logits_differ_where_an_edge_is_uneven():
    logits = torch.full((1, 256, 256), -1.0)
    logits[:, :, 128:] = (
        9.0  # a sure side beside an unsure one: blended logits move the edge, blended probabilities less
    )
    frame = Frame(1024, 1024, 1024, "squash")
    assert (to_slice(logits, frame, "logits") > 0).sum() > (to_slice(logits, frame, "probabilities") > 0).sum()


def test_pieces_are_the_whole_in_order():
    logits = torch.randn(5, 256, 256)
    frame = Frame(30, 20, 256, "pad")
    assert torch.equal(torch.cat(list(chunks_to_slice(logits, frame, "logits"))), to_slice(logits, frame, "logits"))


def test_stability_counts_pixels_sure_and_possible_inside_the_slice():
    logits = torch.full((2, 256, 256), -9.0)
    logits[0, :2, :10] = 5.0  # 20 sure pixels ...
    logits[0, 2, :20] = 0.0  # ... and 20 undecided: 20 of 40
    logits[0, :, 200:] = 5.0  # in the padding: does not count
    assert estimate_stability(logits, Frame(256, 128, 256, "pad")).tolist() == [0.5, 0.0]


def test_a_score_is_read_off_a_table_straight_between_its_rows():
    scores = np.array([0.0, 0.25, 0.5, 0.9, 1.0], np.float32)
    assert read_expected_iou(scores, ((0.0, 0.1), (0.5, 0.3), (0.9, 0.8))).tolist() == pytest.approx(
        [0.1, 0.2, 0.3, 0.8, 0.8]
    )
    assert read_expected_iou(scores, ()) is scores
