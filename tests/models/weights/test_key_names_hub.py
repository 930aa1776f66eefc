"""Weights in the layout of transformers' SamModel, both ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from random_weights import SCRAP, same_weights

from medsam.errors import CheckpointError
from medsam.models.networks.medsam import build
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.checkpoint import inspect_checkpoint, load_checkpoint
from medsam.models.weights.key_names_hub import make_hub_config, parse_processor, to_hub

pytestmark = pytest.mark.usefixtures("no_large_leftovers")

SAM = CATALOG["sam-vit-b"].manifest


def test_sam_model_loads_our_folder_and_gives_the_same_logits(hub_folder, vit):
    transformers = pytest.importorskip("transformers")
    theirs, told = transformers.SamModel.from_pretrained(hub_folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 256, 64, 64, generator=generator)
    boxes = torch.tensor([[10.0, 20.0, 500.0, 700.0], [300.0, 300.0, 900.0, 1000.0]])
    with torch.inference_mode():
        logits, quality = vit.decode(features, boxes, multimask=True)
        output = theirs.eval()(image_embeddings=features, input_boxes=boxes[None])
    assert torch.allclose(output.pred_masks[0], logits, rtol=1e-4, atol=1e-4)
    assert torch.allclose(output.iou_scores[0], quality, atol=1e-4)


def test_sam_model_gets_each_encoder_tensor_in_its_place(hub_folder, vit):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.SamModel.from_pretrained(hub_folder).vision_encoder
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 14, 14, 768, generator=generator)
    with torch.inference_mode():
        for ours, block in zip(vit.image_encoder.blocks[:2], theirs.layers[:2], strict=True):
            assert torch.equal(ours.norm1.weight, block.layer_norm1.weight)
            assert torch.equal(ours.norm2.bias, block.layer_norm2.bias)
            assert torch.equal(ours.attn.rel_pos_h, block.attn.rel_pos_h)
            assert torch.equal(ours.attn.rel_pos_w, block.attn.rel_pos_w)
            assert torch.allclose(ours.mlp(tokens), block.mlp(tokens), atol=1e-4)
        assert torch.equal(vit.image_encoder.neck[3].weight, theirs.neck.layer_norm2.weight)
        assert torch.equal(vit.image_encoder.pos_embed, theirs.pos_embed)


@pytest.mark.parametrize("architecture", ["vit_b", "vit_l", "vit_h"])
def test_every_vit_has_the_names_and_shapes_of_sam_model(architecture):
    transformers = pytest.importorskip("transformers")
    parts = {name: part for name, part in make_hub_config(architecture).items() if name.endswith("_config")}
    with torch.device("meta"):
        ours = build(architecture, initialise=False).state_dict()
        theirs = transformers.SamModel(transformers.SamConfig(**parts)).state_dict()
    theirs.pop("prompt_encoder.shared_embedding.positional_embedding")  # tied to shared_image_embedding
    assert {to_hub(name): t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_sam_model_folder_comes_back(hub_folder, vit):
    found = inspect_checkpoint(hub_folder)
    assert (found.layout, found.architecture) == ("hub", "vit_b")
    model, manifest = load_checkpoint(hub_folder)
    assert same_weights(model, vit)
    assert manifest.name == "mine"
    assert manifest.prompts == ("box", "point", "mask")


def test_folder_saved_by_transformers_loads_with_its_own_processor(hub_folder, vit, tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.SamModel.from_pretrained(hub_folder).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="--like"):
        load_checkpoint(tmp_path)
    config = json.loads((hub_folder / "preprocessor_config.json").read_text())
    config |= {"do_normalize": False, "image_mean": [0.0] * 3, "image_std": [1.0] * 3, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    model, manifest = load_checkpoint(tmp_path)
    assert same_weights(model, vit)
    assert (manifest.fit, manifest.scaling, manifest.interpolation, manifest.upsample) == (
        "pad",
        "unit",
        "bicubic",
        "frame",
    )


def test_pytorch_model_bin_with_both_position_tables_loads(hub_folder, vit, tmp_path):
    from safetensors.torch import load_file

    tensors = load_file(hub_folder / "model.safetensors")
    twice = "prompt_encoder.shared_embedding.positional_embedding"
    tensors[twice] = tensors["shared_image_embedding.positional_embedding"].clone()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    manifest = replace(SAM, sha256=None)
    assert same_weights(load_checkpoint(tmp_path, manifest)[0], vit)
    few = {name: tensors[name] for name in (twice, "shared_image_embedding.positional_embedding")}
    few |= {twice: few[twice] + 1, "vision_encoder.pos_embed": SCRAP["image_encoder.pos_embed"]}
    torch.save(few, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="two different position tables"):
        load_checkpoint(tmp_path, manifest)


def test_processor_we_write_reads_back_as_the_same_pre_processing(hub_folder):
    config = json.loads((hub_folder / "preprocessor_config.json").read_text())
    back = parse_processor(config, "vit_b", "mine")
    assert back is not None
    assert (back.fit, back.interpolation, back.scaling) == (SAM.fit, SAM.interpolation, SAM.scaling)
    assert parse_processor(config | {"resample": 1}, "vit_b", "mine") is None
    assert parse_processor({}, "vit_b", "mine") is None


def test_names_by_hand():
    assert to_hub("image_encoder.blocks.3.norm1.weight") == "vision_encoder.layers.3.layer_norm1.weight"
    assert to_hub("mask_decoder.iou_prediction_head.layers.1.bias") == "mask_decoder.iou_prediction_head.layers.0.bias"
    assert to_hub("mask_decoder.output_upscaling.3.weight") == "mask_decoder.upscale_conv2.weight"
