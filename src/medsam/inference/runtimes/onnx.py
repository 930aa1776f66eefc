"""ONNX Runtime: run the graphs that export writes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medsam.errors import MissingDependencyError
from medsam.inference.runtimes.graph_runtime import (
    Graph,
    GraphRuntime,
    explain_damaged_graph,
    find_decoder,
    require_file,
)


def run_graphs(encoder: Path) -> GraphRuntime:
    """Run NAME.onnx and NAME.decoder.onnx.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        CheckpointError: a file is missing or damaged.
    """
    graphs = [_session(require_file(path)) for path in (encoder, find_decoder(encoder))]
    return GraphRuntime(graphs[0], graphs[1], name="onnxruntime cpu fp32")


def _session(path: Path) -> Graph:
    try:
        onnxruntime = import_module("onnxruntime")  # by name: it carries no types
    except ImportError:
        raise MissingDependencyError(
            "ONNX Runtime is not installed", expected="the onnx extra", fix='run pip install "openmedsam[onnx]"'
        ) from None
    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise explain_damaged_graph(path) from error

    def run(inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        wanted = {one.name for one in session.get_inputs()}
        return list(session.run(None, {name: value for name, value in inputs.items() if name in wanted}))

    return run
