"""Prompts as graphs take them, by hand; graphs of a small model give what the model gives."""

from __future__ import annotations

import numpy as np
import torch
from random_weights import fill

from medsam.inference.prompts import ModelPrompts
from medsam.inference.runtimes.graphs import (
    DecoderGraph,
    EncoderGraph,
    make_decoder_example,
    make_decoder_inputs,
    make_encoder_example,
)
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.models.networks.tiny_vit import TinyViT

FEATURES = torch.randn(1, 256, 16, 16, generator=torch.Generator().manual_seed(0))
BOXES = torch.tensor([[1.0, 2.0, 30.0, 40.0], [5.0, 6.0, 7.0, 8.0]])
POINTS, LABELS = torch.tensor([[[9.0, 10.0]], [[11.0, 12.0]]]), torch.tensor([[1], [0]])


def small() -> MedSAM:
    return fill(MedSAM(TinyViT(image_size=64), PromptEncoder(image_size=64, grid=16), MaskDecoder()))


def test_a_box_becomes_two_corners_after_the_points() -> None:
    given = make_decoder_inputs(FEATURES, ModelPrompts(BOXES, POINTS, LABELS, None, 2))
    assert given["coordinates"].tolist() == [[[9, 10], [1, 2], [30, 40]], [[11, 12], [5, 6], [7, 8]]]
    assert given["labels"].tolist() == [[1, 2, 3], [0, 2, 3]]
    assert given["mask"].shape == (1, 1, 64, 64)
    assert given["has_mask"].tolist() == [0]


def test_points_without_a_box_end_in_a_filling_point() -> None:
    given = make_decoder_inputs(FEATURES, ModelPrompts(None, POINTS, LABELS, torch.ones(1, 1, 64, 64), 2))
    assert given["coordinates"].tolist() == [[[9, 10], [0, 0]], [[11, 12], [0, 0]]]
    assert given["labels"].tolist() == [[1, -1], [0, -1]]
    assert given["has_mask"].tolist() == [1]
    assert np.array_equal(given["mask"], np.ones((1, 1, 64, 64)))


@torch.inference_mode()
def test_the_graphs_give_what_the_model_gives() -> None:
    model = small()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(EncoderGraph(model)(image), model.encode(image))
    mask = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    for prompts in (
        ModelPrompts(BOXES, None, None, None, 2),
        ModelPrompts(None, POINTS, LABELS, None, 2),
        ModelPrompts(BOXES, POINTS, LABELS, mask, 2),
    ):
        inputs = [torch.from_numpy(value) for value in make_decoder_inputs(FEATURES, prompts).values()]
        masks = None if prompts.masks_N1hw is None else prompts.masks_N1hw.expand(2, -1, -1, -1)
        expected = model.decode(FEATURES, prompts.boxes_N4, prompts.points_NP2, prompts.labels_NP, masks)
        torch.testing.assert_close(DecoderGraph(model)(*inputs), expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_the_examples_run_through_the_graphs() -> None:
    model = small()
    assert EncoderGraph(model)(*make_encoder_example(model)).shape == (1, 256, 16, 16)
    logits, quality = DecoderGraph(model)(*make_decoder_example(model))
    assert (logits.shape, quality.shape) == ((2, 1, 64, 64), (2, 1))
