"""ONNX Runtime on two small graphs written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medsam.errors import CheckpointError
from medsam.inference.prompts import ModelPrompts
from medsam.inference.runtimes.onnx import run_graphs

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def save(path: Path, nodes: list, inputs: dict[str, list], outputs: dict[str, list]) -> None:
    def values(shapes: dict[str, list]) -> list:
        return [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, s) for name, s in shapes.items()]

    graph = onnx.helper.make_graph(nodes, "graph", values(inputs), values(outputs))
    opset = [onnx.helper.make_opsetid("", 13)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    """An encoder that doubles the image, a decoder that gives mask + has_mask and has_mask."""
    node = onnx.helper.make_node
    image = ["b", 3, "h", "w"]
    save(tmp_path / "m.onnx", [node("Add", ["image", "image"], ["features"])], {"image": image}, {"features": image})
    save(
        tmp_path / "m.decoder.onnx",
        [node("Add", ["mask", "has_mask"], ["logits"]), node("Identity", ["has_mask"], ["quality"])],
        {"mask": [1, 1, "h", "w"], "has_mask": [1]},
        {"logits": [1, 1, "h", "w"], "quality": [1]},
    )
    return tmp_path / "m.onnx"


def test_the_two_graphs_run_on_their_inputs(graphs: Path) -> None:
    runtime = run_graphs(graphs)
    assert runtime.name == "onnxruntime cpu fp32"
    images = torch.arange(24.0).view(2, 3, 2, 2)
    assert torch.equal(runtime.encode(images), images * 2)
    prompts = ModelPrompts(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), None, None, torch.full((1, 1, 8, 8), 5.0), 1)
    logits, quality = runtime.decode(torch.zeros(1, 1, 2, 2), prompts, multimask=False)
    assert torch.equal(logits, torch.full((1, 1, 8, 8), 6.0))
    assert quality.tolist() == [1.0]


def test_a_missing_or_damaged_graph_is_refused(graphs: Path) -> None:
    decoder = graphs.with_name("m.decoder.onnx")
    decoder.write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"m\.decoder\.onnx cannot be read as a graph"):
        run_graphs(graphs)
    decoder.unlink()
    with pytest.raises(CheckpointError, match=r"m\.decoder\.onnx is not there"):
        run_graphs(graphs)
