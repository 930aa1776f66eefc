"""A model as a node of a cluster holds it; the cluster itself is in tests/integration/test_ray_cluster.py."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from bright import BRIGHT, BrightRuntime, bright_predictor

from medsam.errors import MedsamError, RemoteError
from medsam.inference.cluster import HeldModel, hold_model
from medsam.inference.loading import Loaded
from medsam.inference.prompts import make_model_prompts

HELD = HeldModel(Loaded(BrightRuntime(), BRIGHT, "bright"))


def test_a_node_answers_what_the_predictor_answers_also_through_a_pickle() -> None:
    predictor = bright_predictor()
    slice_rgb = np.zeros((40, 48, 3), np.uint8)
    slice_rgb[10:20, 12:30] = 255
    embedding = predictor.embed(slice_rgb)
    frame = embedding.frame
    image_13SS = torch.from_numpy(frame.image_to_model(slice_rgb)[None])
    features = HELD.encode("bright", image_13SS)
    assert torch.equal(features, embedding.features)
    prompts = pickle.loads(pickle.dumps(make_model_prompts(frame, [(10, 8, 32, 22)], None, None, None)))
    logits, quality = HELD.decode("bright", features, prompts, False)
    expected = predictor.runtime.decode(embedding.features, prompts, multimask=False)
    assert torch.equal(logits, expected[0]) and torch.equal(quality, expected[1])


def test_a_node_says_what_it_holds_and_refuses_work_for_other_weights() -> None:
    described = HELD.describe()
    assert (described.weights, described.batch_size, described.name) == ("bright", 4, "bright")
    with pytest.raises(RemoteError, match="other weights of bright"):
        HELD.encode("others", torch.zeros(1, 3, 256, 256))


def test_a_node_without_the_model_says_so() -> None:
    with pytest.raises(MedsamError, match="no-such-model"):
        hold_model("no-such-model", "cpu", "fp32", "torch", None)
