"""A runtime of two graphs, here two functions whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from medsam.errors import CheckpointError, PromptError
from medsam.inference.prompts import ModelPrompts
from medsam.inference.runtimes.graph_runtime import GraphRuntime, explain_damaged_graph, find_decoder, require_file

BOXES = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])


def sum_colours(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    assert len(inputs["image"]) == 1  # one slice a call
    return [inputs["image"].sum(1, keepdims=True)]


class FirstX:
    """Logits are the left edge of each box, the quality is the mean of the mask; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.calls += 1
        assert len(inputs["mask"]) == 1
        left = inputs["coordinates"][:, 0, 0]
        return [left.reshape(-1, 1, 1, 1), np.full((len(left), 1), inputs["mask"].mean(), np.float32)]


def test_slices_are_encoded_one_by_one_and_put_together() -> None:
    runtime = GraphRuntime(sum_colours, FirstX(), name="sums")
    images = torch.arange(24.0).view(2, 3, 2, 2)
    assert runtime.encode(images).tolist() == [[[[12, 15], [18, 21]]], [[[48, 51], [54, 57]]]]


def test_prompts_go_in_together_but_one_by_one_with_masks_of_their_own() -> None:
    features = torch.zeros(1, 1, 2, 2)
    decoder = FirstX()
    runtime = GraphRuntime(sum_colours, decoder, name="sums")
    logits, quality = runtime.decode(features, ModelPrompts(BOXES, None, None, None, 2), multimask=False)
    assert (logits.flatten().tolist(), quality.flatten().tolist(), decoder.calls) == ([1, 5], [0, 0], 1)
    masks = torch.stack([torch.full((1, 8, 8), 2.0), torch.full((1, 8, 8), 3.0)])
    logits, quality = runtime.decode(features, ModelPrompts(BOXES, None, None, masks, 2), multimask=False)
    assert (logits.flatten().tolist(), quality.flatten().tolist(), decoder.calls) == ([1, 5], [2, 3], 3)
    with pytest.raises(PromptError, match="multimask with sums"):
        runtime.decode(features, ModelPrompts(BOXES, None, None, None, 2), multimask=True)


def test_the_decoder_lies_beside_the_encoder(tmp_path: Path) -> None:
    assert find_decoder(Path("a/lite.xml")) == Path("a/lite.decoder.xml")
    with pytest.raises(CheckpointError, match=r"lite\.xml is not there.*export again"):
        require_file(tmp_path / "lite.xml")
    (tmp_path / "lite.xml").write_text("")
    assert require_file(tmp_path / "lite.xml") == tmp_path / "lite.xml"
    assert "cannot be read as a graph" in str(explain_damaged_graph(tmp_path / "lite.xml"))
