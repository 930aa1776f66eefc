"""Exported graphs against torch: OpenVINO and ONNX Runtime give the same masks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from medsam.errors import CheckpointError, MissingDependencyError, ModelUnavailableError, OutputError, PromptError
from medsam.export.graphs import export_model
from medsam.inference.predictor import load_predictor
from medsam.inference.runtime import batch_size_for, choose_device
from medsam.models.catalog import cached

BOXES = [(118, 58, 202, 142), (100, 40, 220, 160), (0, 0, 300, 200)]


@pytest.fixture(scope="module", params=["xml", "onnx"])
def exported(lite, request, tmp_path_factory):
    pytest.importorskip({"xml": "openvino", "onnx": "onnxruntime"}[request.param])
    target = tmp_path_factory.mktemp("graphs") / f"lite.{request.param}"
    files = export_model("lite-medsam", target)
    assert all(path.stat().st_size > 100 for path in files)
    return load_predictor(target)


def test_a_predictor_computes_as_ever_where_its_caller_computes_in_half_precision(lite, disc, disc_embedding):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = lite.embed(disc[0])
        masks, scores = lite.decode(disc_embedding, boxes=BOXES)
    assert torch.equal(embedding.features, disc_embedding.features)
    expected, expected_scores = lite.decode(disc_embedding, boxes=BOXES)
    assert np.array_equal(masks, expected) and np.array_equal(scores, expected_scores)


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


SIGNAL = """
import gc, os, signal
from medsam.inference.predictor import load_predictor
predictors = [load_predictor("lite-medsam", runtime="openvino") for _ in range(2)]
while predictors:
    predictors.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("interrupted"))
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_signal_is_handled_after_runtimes_were_freed(lite):
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", SIGNAL], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_int8_needs_slices_to_calibrate_on(lite, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    weights = cached("lite-medsam")
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))  # where nothing was calibrated yet
    with pytest.raises(ModelUnavailableError, match="calibration"):
        load_predictor(weights, precision="int8", runtime="openvino")


def test_a_device_that_is_not_there_is_refused_in_words():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(MissingDependencyError, match="device is 'tpu'"):
        choose_device("tpu")
    with pytest.raises(MissingDependencyError, match="precision is 'fp8'"):
        load_predictor("lite-medsam", precision="fp8")
    with pytest.raises(MissingDependencyError, match="the CPU"):
        load_predictor("lite-medsam", device="cuda", runtime="openvino")


def test_large_frames_are_encoded_one_by_one_on_a_cpu():
    assert (batch_size_for(1024, "cpu"), batch_size_for(256, "cpu"), batch_size_for(1024, "cuda")) == (1, 4, 8)
