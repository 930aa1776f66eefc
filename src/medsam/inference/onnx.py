"""ONNX Runtime: run the graphs that export writes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import MissingDependencyError
from medsam.inference.graph_runtime import Graph, GraphRuntime, damaged, decoder_path, existing


def run_graphs(encoder: Path) -> GraphRuntime:
    """Run NAME.onnx and NAME.decoder.onnx.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        CheckpointError: a file is missing or damaged.
    """
    graphs = [_session(existing(path)) for path in (encoder, decoder_path(encoder))]
    return GraphRuntime(graphs[0], graphs[1], name="onnxruntime cpu fp32")


def _session(path: Path) -> Graph:
    try:
        onnxruntime = import_module("onnxruntime")  # by name: it carries no types
    except ImportError:
        raise MissingDependencyError(
            "ONNX Runtime is not installed", expected="the onnx extra", fix='run pip install "openmedsam[onnx]"'
        ) from None
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise damaged(path) from error

    def run(inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        wanted = {one.name for one in session.get_inputs()}
        return list(session.run(None, {name: value for name, value in inputs.items() if name in wanted}))

    return run
