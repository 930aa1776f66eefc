"""Write a model as an encoder graph and a decoder graph, with its manifest beside them."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from medsam.errors import MissingDependencyError, OutputError
from medsam.files.atomic import replacing, write_text
from medsam.inference.runtimes import openvino
from medsam.inference.runtimes.graph_runtime import find_decoder
from medsam.inference.runtimes.graphs import (
    DECODER_INPUTS,
    ENCODER_INPUT,
    DecoderGraph,
    EncoderGraph,
    make_decoder_example,
    make_encoder_example,
)
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.catalog import resolve
from medsam.models.weights.checkpoint import load_checkpoint
from medsam.models.weights.file import locate_sidecar

OPSET = 20


def export_model(model: str | Path | None, target: str | Path) -> tuple[Path, Path, Path]:
    """Export a model for ONNX Runtime or OpenVINO, in fp32.

    Args:
        model: Catalog name or weights file; the default model without it.
        target: NAME.onnx or NAME.xml; the suffix chooses.

    Returns:
        The encoder (image (1, 3, S, S) -> features), the decoder (features, coordinates (N, P, 2), labels (N, P), mask,
        has_mask -> logits (N, 1, 256, 256) and predicted IoU (N, 1)), and the manifest that load_predictor reads.

    Raises:
        OutputError: another suffix, or no room. MissingDependencyError: the exporter is not installed.
    """
    path = Path(target)
    if path.suffix not in (".onnx", ".xml"):
        raise OutputError(
            f"{path} has the suffix {path.suffix!r}", expected=".onnx or .xml (OpenVINO)", fix="rename the target"
        )
    network, manifest = load_checkpoint(*resolve(model))
    if path.suffix == ".onnx":
        write_onnx(network, path)
    else:
        openvino.write_graphs(network, path)
    beside = locate_sidecar(path)
    write_text(beside, replace(manifest, multimask=False).to_json() + "\n")  # graphs give one mask
    return path, find_decoder(path), beside


def write_onnx(network: MedSAM, encoder: Path) -> None:
    """Write NAME.onnx and NAME.decoder.onnx, each whole or absent; the decoder takes any number of prompts.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401 - torch needs it to export
    except ImportError:
        raise MissingDependencyError(
            "onnxscript is not installed", expected="the onnx extra", fix='run pip install "openmedsam[onnx]"'
        ) from None
    network.use_attention("explicit")  # the exporter does not know the other path
    n, p = torch.export.Dim("n", min=1), torch.export.Dim("p", min=1)
    prompts = {"coordinates": {0: n, 1: p}, "labels": {0: n, 1: p}}
    still: dict[str, dict[int, torch.export.Dim]] = {"features": {}, "mask": {}, "has_mask": {}}
    try:
        _export(EncoderGraph(network), make_encoder_example(network), ([ENCODER_INPUT], ["features"]), None, encoder)
        _export(
            DecoderGraph(network),
            make_decoder_example(network),
            (list(DECODER_INPUTS), ["logits", "quality"]),
            prompts | still,
            find_decoder(encoder),
        )
    finally:
        network.use_attention("sdpa")


def _export(
    graph: torch.nn.Module, example: tuple[torch.Tensor, ...], names: tuple[list[str], list[str]],
    shapes: dict[str, dict[int, torch.export.Dim]] | None, target: Path,
) -> None:  # fmt: skip
    log = logging.getLogger("torch.onnx")
    level = log.level
    target.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), warnings.catch_warnings(), replacing(target) as temporary:
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)  # it tells of every package that is not installed
        try:
            torch.onnx.export(
                graph.eval(),
                example,
                temporary,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=names[0],
                output_names=names[1],
                dynamic_shapes=shapes,
                external_data=False,
            )
        finally:
            log.setLevel(level)
