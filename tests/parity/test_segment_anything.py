"""Our networks against segment-anything 1.0 on the same random weights."""

from functools import partial

import pytest
import torch

from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import PromptEncoder

SMALL = {"channels": 96, "depth": 3, "heads": 3, "global_blocks": (1,), "image_size": 320}
BOXES = torch.tensor([[10.0, 20.0, 130.5, 200.0], [0.0, 0.0, 319.0, 319.0], [200.0, 40.0, 230.0, 300.0]])
POINTS = torch.tensor([[[30.0, 40.0], [200.0, 11.0]], [[300.0, 5.0], [1.0, 1.0]], [[7.5, 8.0], [100.0, 310.0]]])
LABELS = torch.tensor([[1, 0], [1, 1], [0, -1]])


def published(package, encoder):
    """segment-anything with the sizes of our encoder."""
    grid = encoder.pos_embed.shape[1]
    modeling = package.modeling
    sam = package.modeling.Sam(
        modeling.ImageEncoderViT(
            img_size=encoder.image_size,
            embed_dim=encoder.pos_embed.shape[-1],
            depth=len(encoder.blocks),
            num_heads=encoder.blocks[0].attn.heads,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=tuple(i for i, block in enumerate(encoder.blocks) if not block.window),
        ),
        modeling.PromptEncoder(
            embed_dim=256,
            image_embedding_size=(grid, grid),
            input_image_size=(encoder.image_size,) * 2,
            mask_in_chans=16,
        ),
        modeling.MaskDecoder(
            transformer_dim=256,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
        ),
    )
    return sam.eval()


@pytest.fixture(scope="module")
def pair(segment_anything, randomise):
    encoder = ImageEncoder(**SMALL)
    ours = randomise(MedSAM(encoder, PromptEncoder(image_size=320, grid=20), MaskDecoder()).eval())
    theirs = published(segment_anything, encoder)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


@pytest.fixture(scope="module")
def features():
    return torch.randn(1, 256, 20, 20, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("path", ["sdpa", "explicit"])
@torch.inference_mode()
def test_image_embedding_is_equal(pair, path):
    ours, theirs = pair
    image = torch.rand(2, 3, 320, 320, generator=torch.Generator().manual_seed(2))
    expected = theirs.image_encoder(image)
    for rows in (None, 3):
        ours.image_encoder.use_attention(path, query_rows=rows)
        assert expected.std() > 0.1
        torch.testing.assert_close(ours.encode(image), expected, atol=1e-4, rtol=0)
    ours.use_attention("sdpa")


@pytest.mark.parametrize(
    "size", [{"image_size": 448}, {"depth": 3, "global_blocks": (2,)}], ids=["all blocks", "full image"]
)
@torch.inference_mode()
def test_vit_b_embedding_is_equal(segment_anything, randomise, size):
    ours = randomise(ImageEncoder(**size).eval())
    theirs = published(segment_anything, ours).image_encoder
    theirs.load_state_dict(ours.state_dict(), strict=True)
    image = torch.rand(1, 3, ours.image_size, ours.image_size, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(ours(image), theirs(image), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_resized_relative_positions_are_equal(segment_anything):
    from segment_anything.modeling.image_encoder import get_rel_pos

    from medsam.models.networks.image_encoder import lay_out_table

    table = torch.randn(27, 8)
    torch.testing.assert_close(lay_out_table(table, 14), get_rel_pos(14, 14, table))
    torch.testing.assert_close(lay_out_table(table, 9), get_rel_pos(9, 9, table))


PROMPTS = {
    "boxes": (BOXES, None, None),
    "points": (None, POINTS, None),
    "boxes and points": (BOXES, POINTS, None),
    "boxes and masks": (BOXES, None, torch.randn(3, 1, 80, 80, generator=torch.Generator().manual_seed(4))),
    "all": (BOXES, POINTS, torch.randn(3, 1, 80, 80, generator=torch.Generator().manual_seed(5))),
}


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("prompts", PROMPTS)
@torch.inference_mode()
def test_logits_and_quality_are_equal(pair, features, prompts, multimask):
    ours, theirs = pair
    boxes, points, masks = PROMPTS[prompts]
    labels = None if points is None else LABELS
    sparse, dense = theirs.prompt_encoder(None if points is None else (points, labels), boxes, masks)
    expected, expected_quality = theirs.mask_decoder(
        image_embeddings=features,
        image_pe=theirs.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
    )
    logits, quality = ours.decode(features, boxes, points, labels, masks, multimask=multimask)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, expected_quality, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_keys_of_the_three_vits_are_the_published_ones(segment_anything):
    from medsam.models.networks.medsam import build

    for name in ("vit_b", "vit_l", "vit_h"):
        with torch.device("meta"):
            theirs = segment_anything.sam_model_registry[name]()
        ours = build(name, initialise=False)
        assert {k: v.shape for k, v in ours.state_dict().items()} == {
            k: v.shape for k, v in theirs.state_dict().items()
        }
