"""Exported graphs against torch: OpenVINO and ONNX Runtime give the same masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsam.errors import CheckpointError, OutputError, PromptError
from medsam.inference.predictor import load_predictor
from medsam.inference.runtimes.export import export_model

BOXES = [(118, 58, 202, 142), (100, 40, 220, 160), (0, 0, 300, 200)]


@pytest.fixture(scope="module", params=["xml", "onnx"])
def exported(lite, request, tmp_path_factory):
    pytest.importorskip({"xml": "openvino", "onnx": "onnxruntime"}[request.param])
    target = tmp_path_factory.mktemp("graphs") / f"lite.{request.param}"
    files = export_model("lite-medsam", target)
    assert all(path.stat().st_size > 100 for path in files)
    return load_predictor(target)


@pytest.mark.integration  # half a minute of tracing
def test_an_exported_model_gives_the_masks_of_torch(lite, exported, disc, disc_embedding):
    embedding = exported.embed(disc[0])
    assert torch.allclose(embedding.features, disc_embedding.features, atol=1e-4)
    assert embedding.weights == lite.weights  # so that either may decode the other's embeddings
    prompts = [
        {"boxes": BOXES},
        {"boxes": BOXES[:1]},
        {"points": [[(160, 100)], [(20, 20), (160, 100)]], "point_labels": [[1], [0, 1]]},
        {"boxes": BOXES[:2], "points": [[(160, 100)], [(20, 20)]], "point_labels": [[1], [0]]},
        {"boxes": BOXES[:2], "mask": disc[1]},
    ]
    for given in prompts:
        masks, scores = exported.decode(embedding, **given)
        expected, expected_scores = lite.decode(disc_embedding, **given)
        assert (masks != expected).sum() <= 3 and np.allclose(scores, expected_scores, atol=0.01)


@pytest.mark.integration  # half a minute of tracing
def test_a_missing_or_damaged_half_is_refused(exported, tmp_path):
    for suffix in (".xml", ".onnx"):
        pytest.importorskip({".xml": "openvino", ".onnx": "onnxruntime"}[suffix])
        (tmp_path / f"lite{suffix}").write_bytes(b"not a graph")
        (tmp_path / f"lite{suffix}.manifest.json").write_text(exported.manifest.to_json())
        with pytest.raises(CheckpointError, match="cannot be read as a graph"):
            load_predictor(tmp_path / f"lite{suffix}")


@pytest.mark.integration  # half a minute of tracing
def test_graphs_give_one_mask_a_prompt(exported, disc):
    with pytest.raises(PromptError, match="multimask"):
        exported.decode(exported.embed(disc[0]), boxes=BOXES, multimask=True)


def test_export_refuses_other_suffixes(tmp_path):
    with pytest.raises(OutputError, match=r"\.onnx or \.xml"):
        export_model("lite-medsam", tmp_path / "lite.tflite")
