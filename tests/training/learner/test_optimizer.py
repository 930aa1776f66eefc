"""The optimizer: which weights learn how fast, and that a run with several rates goes on exactly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import CONFIG, tiny_model, train

from medsam.errors import DataError
from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.training.learner.optimizer import compute_learning_rate, group_parameters, make_optimizer, set_rate
from medsam.training.learner.trainable import list_trainable, set_trainable
from medsam.training.run import sealed


def shares(model: MedSAM, decay: float) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in list_trainable(model).items()}
    return {names[id(p)]: group["scale"] for group in group_parameters(model, decay) for p in group["params"]}  # type: ignore[attr-defined,misc]


def test_shares_of_the_rate_fall_towards_the_input_of_a_tiny_vit_by_hand() -> None:
    model = set_trainable(tiny_model(), CONFIG)
    found = shares(model, 0.5)
    assert found.keys() == list_trainable(model).keys()
    assert found["image_encoder.patch_embed.seq.0.c.weight"] == 0.5**5
    assert found["image_encoder.layers.0.blocks.0.conv1.c.weight"] == 0.5**4
    assert found["image_encoder.layers.3.blocks.0.mlp.fc1.weight"] == 0.5
    assert found["image_encoder.neck.0.weight"] == 1
    assert {share for name, share in found.items() if name.startswith("mask_decoder")} == {1.0}
    assert len(group_parameters(model, 1.0)) == 1


def test_shares_of_the_rate_fall_towards_the_input_of_a_vit_also_of_its_low_rank_updates() -> None:
    encoder = ImageEncoder(channels=16, depth=3, heads=2, global_blocks=(1,), image_size=64, out_channels=32)
    model = MedSAM(encoder, PromptEncoder(image_size=64, grid=4, channels=32), MaskDecoder(channels=32, heads=2))
    set_trainable(model, CONFIG)
    found = shares(model, 0.1)
    assert found["image_encoder.pos_embed"] == found["image_encoder.patch_embed.proj.weight"] == pytest.approx(1e-4)
    assert found["image_encoder.blocks.0.norm1.weight"] == pytest.approx(1e-3)
    assert found["image_encoder.blocks.2.norm1.weight"] == pytest.approx(0.1)
    set_trainable(model, replace(CONFIG, encoder="lora"))
    found = shares(model, 0.1)
    assert found["image_encoder.blocks.1.attn.qkv.parametrizations.weight.0.up"] == pytest.approx(1e-2)


def test_one_step_moves_each_depth_by_its_share() -> None:
    """The first step of AdamW without weight decay moves every weight by its rate."""
    model = set_trainable(tiny_model(), CONFIG)
    optimizer = make_optimizer(model, replace(CONFIG, layer_decay=0.5, weight_decay=0.0))
    before = {name: parameter.detach().clone() for name, parameter in list_trainable(model).items()}
    for parameter in list_trainable(model).values():
        parameter.grad = torch.ones_like(parameter)
    set_rate(optimizer, 1e-2)
    optimizer.step()
    moved = {
        name: (before[name] - parameter.detach()).mean().item() for name, parameter in list_trainable(model).items()
    }
    assert moved["image_encoder.patch_embed.seq.0.c.weight"] == pytest.approx(1e-2 / 32, rel=1e-3)
    assert moved["image_encoder.layers.1.blocks.0.attn.qkv.weight"] == pytest.approx(1e-2 / 8, rel=1e-3)
    assert moved["image_encoder.neck.0.weight"] == pytest.approx(1e-2, rel=1e-3)


def test_a_run_with_decaying_rates_goes_on_bit_by_bit_and_is_another(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, layer_decay=0.6, schedule="cosine")
    train(discs, tmp_path / "whole", config)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (sealed.list_checkpoints(tmp_path / "cut")[-1] / "state.json").unlink()
    train(discs, tmp_path / "cut", config, resume=True)
    train(discs, tmp_path / "off", replace(config, layer_decay=1.0))
    whole, cut, off = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut", "off"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not torch.equal(
        whole["image_encoder.patch_embed.seq.0.c.weight"], off["image_encoder.patch_embed.seq.0.c.weight"]
    )


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5])
def test_decays_that_cannot_be_meant_are_refused(decay: float) -> None:
    with pytest.raises(DataError, match="layer_decay"):
        replace(CONFIG, layer_decay=decay)
    with pytest.raises(DataError, match="an encoder that learns"):
        replace(CONFIG, layer_decay=0.5, encoder="frozen")


def test_the_cosine_ends_near_zero() -> None:
    config = replace(CONFIG, schedule="cosine", learning_rate=1.0 / 2)
    assert [round(compute_learning_rate(config, step, 4), 4) for step in range(4)] == [0.5, 0.4268, 0.25, 0.0732]
    assert compute_learning_rate(replace(config, schedule="constant"), 3, 4) == 0.5
