"""The assembled networks: sizes, keys, prompts, bad input."""

import pytest
import torch

from medsam.errors import CheckpointError, PromptError
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM, build
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.models.networks.tiny_vit import TinyViT


@pytest.fixture(scope="module")
def lite():
    torch.manual_seed(0)
    return build("tiny_vit")


@pytest.fixture(scope="module")
def features():
    return torch.randn(1, 256, 64, 64, generator=torch.Generator().manual_seed(1))


def small():
    return MedSAM(TinyViT(image_size=64), PromptEncoder(image_size=64, grid=16), MaskDecoder()).eval()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_vit_b_has_the_parameter_counts_of_the_paper():
    model = build("vit_b", initialise=False)
    assert count(model.image_encoder) == 89_670_912
    assert count(model.mask_decoder) == 4_058_340
    assert count(model.prompt_encoder) == 6_220
    assert len(model.state_dict()) == 314
    assert sum(key.startswith("image_encoder.") for key in model.state_dict()) == 177


def test_lite_has_the_published_parameter_count_and_keys(lite):
    assert count(lite) == 9_791_300
    assert count(lite.image_encoder) == 5_726_740
    assert len(lite.state_dict()) == 435


@pytest.mark.parametrize(("architecture", "millions"), [("vit_l", 308), ("vit_h", 637)])
def test_large_models_have_the_published_size(architecture, millions):
    assert round(count(build(architecture, initialise=False).image_encoder) / 1e6) == millions


def test_plain_build_gives_finite_trainable_weights(lite):
    assert all(torch.isfinite(value).all() for value in lite.state_dict().values())
    assert lite.image_encoder.layers[1].blocks[0].mlp.fc1.weight.detach().std().item() == pytest.approx(0.02, rel=0.05)
    assert not lite.training


def test_unknown_architecture_is_refused():
    with pytest.raises(CheckpointError, match="vit_x"):
        build("vit_x")


@torch.inference_mode()
def test_encode_gives_one_embedding_an_image(lite):
    assert lite.encode(torch.rand(2, 3, 256, 256)).shape == (2, 256, 64, 64)


@torch.inference_mode()
def test_many_prompts_in_one_decode_equal_each_alone(lite, features):
    boxes = torch.tensor([[10.0, 20.0, 90.0, 120.0], [100.0, 30.0, 200.0, 60.0], [0.0, 0.0, 255.0, 255.0]])
    together, quality = lite.decode(features, boxes)
    assert together.shape == (3, 1, 256, 256)
    assert quality.shape == (3, 1)
    for index in range(3):
        alone, alone_quality = lite.decode(features, boxes[index : index + 1])
        torch.testing.assert_close(together[index], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(quality[index], alone_quality[0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_one_box_an_image_equals_image_by_image(lite, features):
    two = torch.cat([features, features.flip(-1)])
    boxes = torch.tensor([[10.0, 20.0, 90.0, 120.0], [100.0, 30.0, 200.0, 60.0]])
    together, _ = lite.decode(two, boxes)
    for index in range(2):
        alone, _ = lite.decode(two[index : index + 1], boxes[index : index + 1])
        torch.testing.assert_close(together[index], alone[0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_filling_points_stand_for_no_point(lite, features):
    points = torch.tensor([[[40.0, 50.0], [200.0, 10.0]]])
    first, _ = lite.decode(features, None, points, torch.tensor([[1, -1]]))
    moved = points.clone()
    moved[0, 1] = 99.0
    second, _ = lite.decode(features, None, moved, torch.tensor([[1, -1]]))
    torch.testing.assert_close(first, second)


@torch.inference_mode()
def test_multimask_gives_the_three_further_masks(lite, features):
    logits, quality = lite.decode(features, torch.tensor([[10.0, 20.0, 90.0, 120.0]]), multimask=True)
    assert logits.shape == (1, 3, 256, 256)
    assert quality.shape == (1, 3)


@torch.inference_mode()
def test_explicit_attention_equals_sdpa():
    lite = small()
    image = torch.rand(1, 3, 64, 64)
    box = torch.tensor([[10.0, 20.0, 90.0, 120.0]])
    expected = lite.decode(lite.encode(image), box)[0]
    lite.use_attention("explicit")
    torch.testing.assert_close(lite.decode(lite.encode(image), box)[0], expected, atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_part():
    lite = small()
    image, box = torch.rand(1, 3, 64, 64), torch.tensor([[10.0, 20.0, 90.0, 120.0]])
    lite(image, box).sum().backward()
    without = {name for name, parameter in lite.named_parameters() if parameter.grad is None}
    # points, masks, the quality head and the further masks take no part in a box with one mask
    assert all(
        name.startswith(
            (
                "prompt_encoder.point_embeddings.0",
                "prompt_encoder.point_embeddings.1",
                "prompt_encoder.not_a_point",
                "prompt_encoder.mask_downscaling",
                "mask_decoder.iou_prediction_head",
                "mask_decoder.output_hypernetworks_mlps.1",
                "mask_decoder.output_hypernetworks_mlps.2",
                "mask_decoder.output_hypernetworks_mlps.3",
            )
        )
        for name in without
    )


def test_no_prompt_is_refused(lite, features):
    with pytest.raises(PromptError, match="no prompts"):
        lite.decode(features)


def test_points_without_labels_are_refused(lite, features):
    with pytest.raises(PromptError, match="points without labels"):
        lite.decode(features, None, torch.zeros(1, 1, 2))


def test_unequal_numbers_of_prompts_are_refused(lite, features):
    with pytest.raises(PromptError, match=r"\[1, 2\] prompts"):
        lite.decode(features, torch.zeros(2, 4), torch.zeros(1, 1, 2), torch.ones(1, 1))


def test_embeddings_must_fit_the_prompts(lite, features):
    with pytest.raises(PromptError, match="3 embeddings for 2 prompts"):
        lite.decode(features.expand(3, -1, -1, -1), torch.zeros(2, 4))
