"""An embedding: what was encoded, kept whole and unchangeable."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from medsam.inference.embedding import Embedding


def test_an_embedding_holds_slice_frame_and_weights(bright) -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, 100:] = 255
    embedding = bright.embed(picture)
    assert embedding.features.shape == (1, 256, 64, 64)
    # 200 x 100 pixels fill the upper half of a frame of 256; its right half is bright
    assert (embedding.frame.height, embedding.frame.width) == (100, 200)
    first = embedding.features[0, 0]
    assert (first[:31, :31] == 0).all()
    assert (first[:31, 33:] == 1).all()
    assert (first[33:] == 0).all()
    assert embedding.weights == "bright"
    with pytest.raises(FrozenInstanceError):
        embedding.weights = "other"


def test_embeddings_are_told_apart_by_identity(bright) -> None:
    frame = bright.embed(np.zeros((2, 2, 3), np.uint8)).frame
    one, other = (Embedding(torch.zeros(1, 256, 64, 64), frame, "bright") for _ in range(2))
    assert one == one  # noqa: PLR0124 - comparing tensors would raise
    assert one != other
    assert len({one, other, one}) == 2
