"""The networks rearranged for inference give the numbers of the plain ones."""

import pytest
import torch

from medsam.models import packed
from medsam.models.fused_tiny_vit import FusedTinyViT
from medsam.models.fused_vit import FusedImageEncoder
from medsam.models.image_encoder import ImageEncoder
from medsam.models.mask_decoder import MaskDecoder
from medsam.models.medsam import MedSAM
from medsam.models.prompt_encoder import PromptEncoder
from medsam.models.tiny_vit import TinyViT


def fill(module, seed=0):
    """Values that matter in every weight."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if "running_var" in name:
            tensor.copy_(noise.abs() * 0.1 + 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(noise * 0.1 + (0.5 if name.endswith("weight") else 0.0))
        elif "rel_pos" in name or "pos_embed" in name or "biases" in name or tensor.shape[0] == 1:
            tensor.copy_(noise * 0.5)
        else:
            tensor.copy_(noise * tensor[0].numel() ** -0.5)
    return module.eval()


@pytest.fixture(params=["packed", "plain"])
def library(request, monkeypatch):
    """With the packed layers of oneDNN, and as on a build of torch without them."""
    if request.param == "plain":
        monkeypatch.setattr(packed, "can_pack", lambda dtype=None: False)


# 20 tokens a side are two windows of 14 with padding, 28 two without
@pytest.mark.parametrize("image_size", [320, 448])
@torch.inference_mode()
def test_vit_is_equal(library, image_size):
    plain = fill(ImageEncoder(channels=96, depth=3, heads=3, global_blocks=(1,), image_size=image_size))
    image = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(1))
    before = image.clone()
    torch.testing.assert_close(FusedImageEncoder(plain)(image), plain(image), atol=2e-5, rtol=0)
    assert torch.equal(image, before)


@torch.inference_mode()
def test_vit_with_tables_of_another_size_is_equal():
    plain = fill(ImageEncoder(channels=96, depth=1, heads=3, global_blocks=(0,), image_size=128))
    plain.blocks[0].attn.rel_pos_h = torch.nn.Parameter(torch.randn(27, 32))
    image = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(FusedImageEncoder(plain)(image), plain(image), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.02), ("int8", 0.05)])
@torch.inference_mode()
def test_vit_in_fewer_bits_is_near(precision, error):
    plain = fill(ImageEncoder(channels=96, depth=3, heads=3, global_blocks=(1,), image_size=320))
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(1))
    expected, given = plain(image), FusedImageEncoder(plain, precision)(image)
    assert given.dtype == torch.float32
    assert (given - expected).norm() < error * expected.norm()


@torch.inference_mode()
def test_int8_layer_on_whole_numbers_is_exact():
    layer = packed.Int8Linear(torch.tensor([[127.0, 0.0], [-127.0, 127.0]]), torch.tensor([1.0, 0.0]))
    x = torch.tensor([[0.0, 255.0], [10.0, 3.0]])  # range 0 to 255, so one level is one unit
    torch.testing.assert_close(layer(x), torch.tensor([[1.0, 255.0 * 127], [1271.0, -7.0 * 127]]))


@torch.inference_mode()
def test_tiny_vit_is_equal(library):
    plain = fill(TinyViT(image_size=96))
    image = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(FusedTinyViT(plain)(image), plain(image), atol=2e-5, rtol=0)


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
