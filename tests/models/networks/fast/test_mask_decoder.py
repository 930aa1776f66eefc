"""The mask decoder rearranged for inference gives the numbers of the plain one."""

from __future__ import annotations

import pytest
import torch
from random_weights import fill

from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.models.networks.tiny_vit import TinyViT


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("prompts", ["boxes", "points", "everything", "many points", "one image a box"])
@torch.inference_mode()
def test_decoder_is_equal(library, prompts, multimask):
    model = fill(MedSAM(TinyViT(), PromptEncoder(image_size=96, grid=12), MaskDecoder()))
    fast = model.optimize_for_inference()
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(3 if prompts == "one image a box" else 1, 256, 12, 12, generator=generator)
    boxes = torch.rand(3, 4, generator=generator) * 95
    points = torch.rand(3, 25 if prompts == "many points" else 2, 2, generator=generator) * 95
    labels = torch.randint(-1, 2, points.shape[:2], generator=generator)
    masks = torch.randn(3, 1, 48, 48, generator=generator)
    given = {
        "boxes": (boxes,),
        "one image a box": (boxes,),
        "points": (None, points, labels),
        "many points": (boxes, points, labels),
        "everything": (boxes, points, labels, masks),
    }[prompts]
    expected, expected_quality = model.decode(features, *given, multimask=multimask)
    logits, quality = fast.decode(features, *given, multimask=multimask)
    assert expected.std() > 0.05
    torch.testing.assert_close(logits, expected, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(quality, expected_quality, atol=5e-5, rtol=1e-5)


def test_the_plain_model_stays_as_it_was():
    model = fill(MedSAM(TinyViT(image_size=64), PromptEncoder(image_size=64, grid=16), MaskDecoder()))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = model.optimize_for_inference()
    assert fast.frame_size == 64
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert fast.optimize_for_inference().encode(torch.rand(1, 3, 64, 64)).shape == (1, 256, 16, 16)
