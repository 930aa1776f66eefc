"""Embeddings on disk: found again, never trusted blindly, never too many."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from medsam.inference.cache import EmbeddingCache, compute_embedding_key
from medsam.inference.predictor import Predictor

MEGABYTES_4 = 256 * 64 * 64 * 4


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def test_a_slice_seen_before_is_not_encoded_again(bright, tmp_path):
    cache = EmbeddingCache(tmp_path)
    first = cache.embed(bright, [picture(0), picture(1)])
    assert bright.runtime.encoded == 2
    again = EmbeddingCache(tmp_path).embed(bright, [picture(1), picture(2), picture(0)])
    assert bright.runtime.encoded == 3
    assert torch.equal(again[0].features, first[1].features) and torch.equal(again[2].features, first[0].features)
    assert again[0].frame == first[1].frame and again[0].weights == "bright"


def test_masks_from_the_cache_equal_masks_without_it(lite, disc, disc_embedding, tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.write(compute_embedding_key(lite, disc[0]), disc_embedding.features)
    (kept,) = cache.embed(lite, [disc[0]])
    box = (118, 58, 202, 142)
    assert (lite.decode(kept, boxes=box)[0] == lite.decode(disc_embedding, boxes=box)[0]).all()


def test_the_key_depends_on_pixels_shape_weights_and_preprocessing(bright):
    keys = {
        compute_embedding_key(bright, picture(0)),
        compute_embedding_key(bright, picture(1)),
        compute_embedding_key(bright, picture(0).reshape(40, 30, 3)),
        compute_embedding_key(Predictor(bright.runtime, bright.manifest, weights="others"), picture(0)),
        compute_embedding_key(
            Predictor(bright.runtime, replace(bright.manifest, scaling="min-max"), weights="bright"), picture(0)
        ),
    }
    assert len(keys) == 5 and compute_embedding_key(bright, picture(0)) in keys


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_file_is_removed_and_the_slice_encoded_again(bright, tmp_path, damage):
    cache = EmbeddingCache(tmp_path)
    (first,) = cache.embed(bright, [picture(0)])
    (path,) = tmp_path.glob("*/*")
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-100], "flipped": whole[:-1] + bytes([whole[-1] ^ 1]), "empty": b"", "text": b"hello" * 50}[
            damage
        ]
    )
    assert cache.read(path.stem) is None and not path.exists()
    (again,) = cache.embed(bright, [picture(0)])
    assert torch.equal(again.features, first.features) and bright.runtime.encoded == 2


def test_the_longest_unused_go_first_when_the_folder_is_full(bright, tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=3 * MEGABYTES_4 + 4000)
    keys = [compute_embedding_key(bright, picture(i)) for i in range(4)]
    for i in range(3):
        cache.embed(bright, [picture(i)])
        os.utime(cache._path(keys[i]), (i, i))
    cache.read(keys[0])  # used again: now 1 is the oldest
    cache.embed(bright, [picture(3)])
    assert [cache._path(key).exists() for key in keys] == [True, False, False, True]
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= cache.max_bytes


def test_clear_removes_every_embedding(bright, tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.embed(bright, [picture(0)])
    cache.clear()
    assert not list(tmp_path.glob("*/*")) and cache.read(compute_embedding_key(bright, picture(0))) is None
