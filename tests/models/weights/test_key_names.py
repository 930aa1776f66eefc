"""What the names of tensors tell: wrappers, architectures, and whether they fit a network."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from random_weights import SCRAP, same_weights

from medsam.errors import CheckpointError
from medsam.models.weights.checkpoint import inspect_checkpoint, load_checkpoint
from medsam.models.weights.key_names import detect_architecture, unwrap

pytestmark = pytest.mark.usefixtures("no_large_leftovers")


@pytest.mark.parametrize(
    ("wrap", "layout"),
    [
        (lambda s: {"model": s, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3}, "training"),
        (lambda s: {"module." + k: v for k, v in s.items()}, "training"),
        (
            lambda s: {"model": {"module." + k: v for k, v in s.items()}, "epoch": 1, "loss": np.float64(0.5)},
            "training",
        ),
        (lambda s: {"model": s}, "wrapped"),
        (lambda s: {"state_dict": s}, "wrapped"),
        (
            lambda s: {"state_dict": {"model." + k: v for k, v in s.items()}, "pytorch-lightning_version": "2"},
            "wrapped",
        ),
        (lambda s: {"state_dict": {"net." + k: v for k, v in s.items()}, "opt": argparse.Namespace(lr=1)}, "wrapped"),
    ],
    ids=["training", "ddp", "training-ddp", "model", "state_dict", "lightning-model", "lightning-net"],
)
def test_wrapped_files_load_the_same_weights(saved, lite, wrap, layout):
    path = saved(wrap(lite.state_dict()))
    assert inspect_checkpoint(path).layout == layout
    model, manifest = load_checkpoint(path)
    assert same_weights(model, lite)
    assert (manifest.frame_size, manifest.fit, manifest.upsample) == (256, "pad", "logits")
    assert manifest.name == "weights"


def test_training_file_of_a_vit_is_medsam(saved):
    manifest = inspect_checkpoint(saved({"model": SCRAP, "optimizer": {}, "epoch": 150})).manifest
    assert manifest is not None
    assert (manifest.fit, manifest.scaling, manifest.prompts) == ("squash", "min-max", ("box",))


def test_lightning_file_of_a_vit_is_not_guessed(saved):
    assert inspect_checkpoint(saved({"state_dict": {"model." + k: v for k, v in SCRAP.items()}})).manifest is None


def test_missing_and_surplus_names_are_counted_and_listed(saved, lite):
    state = lite.state_dict()
    gone = [name for name in state if name.startswith("mask_decoder.")][:12]
    for name in gone:
        del state[name]
    state["mask_decoder.extra.weight"] = torch.zeros(2)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved(state))
    text = str(caught.value)
    assert "12 missing" in text
    assert gone[0] in text
    assert gone[9] in text
    assert gone[10] not in text
    assert "1 surplus: mask_decoder.extra.weight" in text


def test_wrong_shapes_are_listed(saved, lite):
    state = lite.state_dict()
    state["mask_decoder.iou_token.weight"] = torch.zeros(2, 256)
    with pytest.raises(CheckpointError, match=r"mask_decoder.iou_token.weight \(2, 256\) for \(1, 256\)"):
        load_checkpoint(saved(state))


def test_integer_weights_are_refused(saved, lite):
    state = lite.state_dict()
    state["mask_decoder.iou_token.weight"] = torch.zeros(1, 256, dtype=torch.int8)
    with pytest.raises(CheckpointError, match=r"iou_token.weight \(torch.int8\)"):
        load_checkpoint(saved(state))


def test_two_models_in_one_file_are_refused(saved, lite):
    state = lite.state_dict()
    both = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in state.items()}
    with pytest.raises(CheckpointError, match=r"holds 2 models \(student\., teacher\.\)"):
        load_checkpoint(saved(both))


def test_unknown_encoder_is_refused(saved):
    with pytest.raises(CheckpointError, match="not known"):
        inspect_checkpoint(saved({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 192)}))
    with pytest.raises(CheckpointError, match="no image encoder"):
        inspect_checkpoint(saved({"layer1.weight": torch.zeros(3)}))


def test_prefixes_are_taken_off_by_hand():
    tensor = torch.zeros(1)
    wrapped = {"state_dict": {"model.image_encoder.a": tensor, "model.mask_decoder.b": tensor}}
    assert unwrap(wrapped, "w") == ({"image_encoder.a": tensor, "mask_decoder.b": tensor}, "wrapped")
    assert unwrap({"vision_encoder.a": tensor}, "w") == ({"vision_encoder.a": tensor}, "hub")
    with pytest.raises(CheckpointError, match="w holds values that are no tensors: epoch"):
        unwrap({"image_encoder.a": tensor, "epoch": 3}, "w")


@pytest.mark.parametrize(("width", "architecture"), [(768, "vit_b"), (1024, "vit_l"), (1280, "vit_h")])
def test_the_width_of_positions_tells_the_vit(width, architecture):
    for encoder in ("image_encoder", "vision_encoder"):
        assert detect_architecture({f"{encoder}.pos_embed": torch.zeros(1, 2, 2, width)}, "w") == architecture
