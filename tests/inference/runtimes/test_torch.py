"""PyTorch as a runtime: devices, batches, threads, arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsam.errors import MissingDependencyError
from medsam.inference.runtimes.torch import choose_batch_size, choose_device, hash_weights, set_threads
from medsam.models.networks.medsam import build

BOXES = [(118, 58, 202, 142), (100, 40, 220, 160), (0, 0, 300, 200)]


def test_a_predictor_computes_as_ever_where_its_caller_computes_in_half_precision(lite, disc, disc_embedding):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = lite.embed(disc[0])
        masks, scores = lite.decode(disc_embedding, boxes=BOXES)
    assert torch.equal(embedding.features, disc_embedding.features)
    expected, expected_scores = lite.decode(disc_embedding, boxes=BOXES)
    assert np.array_equal(masks, expected) and np.array_equal(scores, expected_scores)


def test_a_device_that_is_not_there_is_refused_in_words():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(MissingDependencyError, match="device is 'tpu'"):
        choose_device("tpu")


def test_large_frames_are_encoded_one_by_one_on_a_cpu():
    assert (choose_batch_size(1024, "cpu"), choose_batch_size(256, "cpu"), choose_batch_size(1024, "cuda")) == (1, 4, 8)


def test_threads_are_set_for_the_process_and_none_is_refused():
    before = torch.get_num_threads()
    try:
        set_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        set_threads(before)
    with pytest.raises(MissingDependencyError, match="0 threads"):
        set_threads(0)


def test_weights_are_known_by_their_values():
    model = build("tiny_vit_s")
    before = hash_weights(model)
    assert hash_weights(model) == before
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1
    assert hash_weights(model) != before
