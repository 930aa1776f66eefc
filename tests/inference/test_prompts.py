"""Prompts on their way into the model frame."""

from __future__ import annotations

import pytest
import torch

from medsam.errors import PromptError
from medsam.imaging.frame import Frame
from medsam.inference.prompts import make_mask_logits, make_model_prompts, refuse_clicks
from medsam.models.weights.manifest import Manifest

FRAME = Frame(128, 256, 256, "pad")  # one pixel is one model pixel


def test_boxes_and_points_enter_the_model_frame_and_short_lists_are_filled_up():
    prompts = make_model_prompts(FRAME, [(9, 2, 5, 8), (0, 0, 9, 9)], [[(1, 2), (3, 4)], [(5, 6)]], [[1, 0], [1]], None)
    assert prompts.boxes_N4[0].tolist() == [5, 2, 9, 8]  # the lower corner first
    assert prompts.points_NP2[1].tolist() == [[5, 6], [0, 0]] and prompts.labels_NP.tolist() == [[1, 0], [1, -1]]
    assert prompts.kinds == ("box", "point") and prompts.part(1, 5).count == 1


def test_a_mask_becomes_the_logits_of_a_confident_answer():
    low = make_mask_logits(torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]]), 2)
    assert low.tolist() == [[[[10, -5], [-10, -10]]]]  # a quarter of four pixels: 2 * 0.25 - 1


def test_clicks_are_refused_for_weights_that_never_learnt_them():
    refuse_clicks(Manifest("sam", "vit_b", prompts=("box", "point")))
    with pytest.raises(PromptError, match=r"click for boxes.*answers clicks: .*openmedsam-lite.*--model"):
        refuse_clicks(Manifest("boxes", "vit_b"))
