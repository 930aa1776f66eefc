"""Our networks against the SamModel of transformers on the same random weights, under its own key layout."""

import pytest
import torch

from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import PromptEncoder

RENAMES = [
    ("image_encoder.", "vision_encoder."),
    (".blocks.", ".layers."),
    ("patch_embed.proj", "patch_embed.projection"),
    ("neck.0", "neck.conv1"),
    ("neck.1", "neck.layer_norm1"),
    ("neck.2", "neck.conv2"),
    ("neck.3", "neck.layer_norm2"),
    ("point_embeddings", "point_embed"),
    ("mask_downscaling.0", "mask_embed.conv1"),
    ("mask_downscaling.1", "mask_embed.layer_norm1"),
    ("mask_downscaling.3", "mask_embed.conv2"),
    ("mask_downscaling.4", "mask_embed.layer_norm2"),
    ("mask_downscaling.6", "mask_embed.conv3"),
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    ("output_upscaling.0", "upscale_conv1"),
    ("output_upscaling.1", "upscale_layer_norm"),
    ("output_upscaling.3", "upscale_conv2"),
    ("norm_final_attn", "layer_norm_final_attn"),
]


def renamed(key):
    """The name of one of our weights in SamModel."""
    for ours, theirs in RENAMES:
        key = key.replace(ours, theirs)
    for index in range(1, 5):
        key = key.replace(f".norm{index}.", f".layer_norm{index}.")
    for head in ("iou_prediction_head", *(f"output_hypernetworks_mlps.{m}" for m in range(4))):
        for theirs, index in (("proj_in", 0), ("layers.zero", 1), ("proj_out", 2)):
            key = key.replace(f"{head}.layers.{index}", f"{head}.{theirs}")
    return key.replace("layers.zero", "layers.0")


@pytest.fixture(scope="module")
def pair(randomise):
    transformers = pytest.importorskip("transformers")
    encoder = ImageEncoder(channels=96, depth=3, heads=3, global_blocks=(1,), image_size=320)
    ours = randomise(MedSAM(encoder, PromptEncoder(image_size=320, grid=20), MaskDecoder()).eval())
    vision = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 3, "global_attn_indexes": [1]}
    prompt = {"image_size": 320, "image_embedding_size": 20}
    config = transformers.SamConfig(
        vision_config={**vision, "image_size": 320, "mlp_dim": 384}, prompt_encoder_config=prompt
    )
    theirs = transformers.SamModel(config).eval()
    weights = {renamed(key): value for key, value in ours.state_dict().items()}
    positions = weights["shared_image_embedding.positional_embedding"]
    weights["prompt_encoder.shared_embedding.positional_embedding"] = positions
    theirs.load_state_dict(weights, strict=True)
    return ours, theirs


@torch.inference_mode()
def test_image_embedding_is_equal(pair):
    ours, theirs = pair
    image = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(2))
    expected = theirs.get_image_embeddings(image)
    assert expected.std() > 0.1
    torch.testing.assert_close(ours.encode(image), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("prompts", ["boxes", "boxes and points", "boxes and a mask"])
@torch.inference_mode()
def test_logits_and_quality_are_equal(pair, prompts, multimask):
    ours, theirs = pair
    features = torch.randn(1, 256, 20, 20, generator=torch.Generator().manual_seed(3))
    boxes = torch.tensor([[10.0, 20.0, 130.5, 200.0], [0.0, 0.0, 319.0, 319.0]])
    points = torch.tensor([[[30.0, 40.0], [200.0, 11.0]], [[300.0, 5.0], [1.0, 1.0]]])
    labels = torch.tensor([[1, 0], [1, 1]])
    mask = torch.randn(1, 1, 80, 80, generator=torch.Generator().manual_seed(4))
    asked = {"image_embeddings": features, "input_boxes": boxes[None], "multimask_output": multimask}
    given = [boxes, None, None, None]
    if prompts == "boxes and points":
        asked |= {"input_points": points[None], "input_labels": labels[None]}
        given[1:3] = points, labels
    if prompts == "boxes and a mask":  # transformers takes one mask for all prompts of an image
        asked["input_masks"] = mask
        given[3] = mask.expand(2, -1, -1, -1)
    result = theirs(**asked)
    logits, quality = ours.decode(features, *given, multimask=multimask)
    assert result.pred_masks.std() > 0.1
    torch.testing.assert_close(logits, result.pred_masks[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, result.iou_scores[0], atol=1e-4, rtol=0)
