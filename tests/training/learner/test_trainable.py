"""Which parts learn, and blocks that are computed twice or compiled."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import run_script, weights
from tiny import CONFIG, loss_of, tiny_model, train

from medsam.training.learner.trainable import list_trainable, set_trainable


@pytest.mark.parametrize("encoder", ["full", "frozen", "lora"])
def test_only_the_parts_that_should_learn_change(discs: Path, tmp_path: Path, encoder: str) -> None:
    config = replace(CONFIG, epochs=1, encoder=encoder, lora_rank=2, cache_embeddings=encoder == "frozen")  # type: ignore[arg-type]
    train(discs, tmp_path / "run", config)
    start, end = tiny_model().state_dict(), weights(tmp_path / "run")
    assert start.keys() == end.keys()  # low-rank updates are folded in
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert not any(name.startswith("prompt_encoder") for name in changed)
    assert not any("iou_prediction_head" in name or "running_" in name for name in changed)
    assert any(name.startswith("mask_decoder") for name in changed)
    touched = {name for name in changed if name.startswith("image_encoder")}
    if encoder == "frozen":
        assert not touched
        assert len(list((tmp_path / "run/embeddings").rglob("*.embedding"))) == 12
    elif encoder == "lora":
        assert touched
        assert all(name.endswith(("qkv.weight", "proj.weight")) for name in touched)
    else:
        assert any("patch_embed" in name for name in touched)


def test_computing_blocks_twice_gives_the_same_gradients(discs: Path) -> None:
    gradients, passes = [], []
    for twice in (False, True):
        config = replace(CONFIG, checkpoint_activations=twice)
        model = set_trainable(tiny_model(), config)
        called = []
        model.image_encoder.layers[1].blocks[0].attn.norm.register_forward_hook(
            lambda *_, called=called: called.append(1)
        )
        loss_of(model, discs, config).sum().backward()
        gradients.append({n: p.grad for n, p in list_trainable(model).items() if p.grad is not None})
        passes.append(len(called))
    assert passes == [1, 2]
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        assert torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6)


@pytest.mark.integration  # half a minute of compiling
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile calls a compiler of C++")
def test_compiled_blocks_give_the_same_gradients_and_the_same_file(discs: Path, tmp_path: Path) -> None:
    assert run_script("compiled", tmp_path, 0, 0, discs) == "compiled\n"
