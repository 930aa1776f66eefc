"""OpenVINO: convert a model once, keep the graphs by weights, run them; int8 with images to calibrate on.

Shape legend: S side of the model frame, H rows, W columns.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from medsam.errors import MissingDependencyError
from medsam.files.atomic import commit
from medsam.inference.runtimes.graph_runtime import (
    Graph,
    GraphRuntime,
    explain_damaged_graph,
    find_decoder,
    require_file,
)
from medsam.inference.runtimes.graphs import DecoderGraph, EncoderGraph, make_decoder_example, make_encoder_example
from medsam.models.networks.architecture import Precision
from medsam.models.networks.medsam import MedSAM

if TYPE_CHECKING:
    import openvino

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}  # its default may be bf16
_CORES: list[openvino.Core] = []
_ONE_AT_A_TIME = threading.Lock()


def import_openvino() -> ModuleType:
    """Import OpenVINO.

    Raises:
        MissingDependencyError: it is not installed; the message carries the install line.
    """
    try:
        import openvino
    except ImportError:
        raise MissingDependencyError(
            "OpenVINO is not installed", expected="the openvino extra", fix='run pip install "openmedsam[openvino]"'
        ) from None
    return openvino  # type: ignore[no-any-return]


def _core() -> openvino.Core:
    """The one Core of this process, never freed.

    OpenVINO's CPU plugin gives the thread another signal stack, and takes back the one before when it goes. Where two
    go out of order, the thread keeps a stack that is freed, and the next signal (Ctrl-C, a child that ends) kills the
    process without a word.
    """
    with _ONE_AT_A_TIME:
        if not _CORES:
            _CORES.append(import_openvino().Core())
        return _CORES[0]


def run_graphs(encoder: Path, *, precision: Precision = "fp32") -> GraphRuntime:
    """Run NAME.xml (with NAME.bin) and NAME.decoder.xml.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        CheckpointError: a file is missing or damaged.
    """
    graphs = [_compiled(require_file(path)) for path in (encoder, find_decoder(encoder))]
    return GraphRuntime(graphs[0], graphs[1], name=f"openvino cpu {precision}", precision=precision)


def _compiled(path: Path) -> Graph:
    try:
        request = (
            _core()
            .compile_model(str(path), "CPU", EXACT | {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
            .create_infer_request()
        )
    except RuntimeError as error:
        raise explain_damaged_graph(path) from error

    def run(inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        return [np.array(out) for out in request.infer(list(inputs.values())).values()]

    return run


def write_graphs(model: MedSAM, encoder: Path, *, calibration: Sequence[NDArray[np.float32]] | None = None) -> None:
    """Convert a model to NAME.xml, NAME.bin, NAME.decoder.xml and NAME.decoder.bin, each whole or absent.

    Args:
        model: In evaluation mode, on the CPU.
        encoder: NAME.xml.
        calibration: (3, S, S) slices in the model frame; with them the encoder becomes int8.

    Raises:
        MissingDependencyError: OpenVINO (or for int8 NNCF) is not installed.
    """
    ov = import_openvino()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, on sizes that are constant here
        image = make_encoder_example(model)
        graph = ov.convert_model(EncoderGraph(model).eval(), example_input=image, input=[list(image[0].shape)])
        if calibration is not None:
            graph = _int8(graph, calibration)
        grid = model.prompt_encoder.grid
        shapes = [[1, 256, grid, grid], [-1, -1, 2], [-1, -1], [-1, 1, 4 * grid, 4 * grid], [1]]
        decoder = ov.convert_model(DecoderGraph(model).eval(), example_input=make_decoder_example(model), input=shapes)
    encoder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=encoder.parent, prefix=".") as folder:
        for converted, target in ((decoder, find_decoder(encoder)), (graph, encoder)):
            temporary = Path(folder) / target.name
            ov.save_model(converted, temporary, compress_to_fp16=False)
            for suffix in (".bin", ".xml"):
                commit(temporary.with_suffix(suffix), target.with_suffix(suffix))


def _int8(graph: object, calibration: Sequence[NDArray[np.float32]]) -> object:
    """Quantize to int8 after training, with the ranges that real slices have."""
    try:
        import nncf
    except ImportError:
        raise MissingDependencyError(
            "NNCF is not installed, which int8 needs", expected="the openvino extra", fix="run pip install nncf"
        ) from None
    slices = nncf.Dataset([image_3SS[None] for image_3SS in calibration])
    with ThreadPoolExecutor(1) as apart:  # NNCF makes and frees Cores: see _core for what that does to a thread
        return apart.submit(
            nncf.quantize,
            graph,
            slices,
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(calibration),
        ).result()
