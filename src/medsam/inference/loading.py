"""From a model's name or file to a runtime that holds its weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from medsam.errors import MissingDependencyError, ModelUnavailableError
from medsam.inference.runtimes.fastest import RuntimeName, choose_fastest
from medsam.inference.runtimes.torch import Runtime, TorchRuntime, choose_device, hash_weights
from medsam.models.networks.architecture import LIGHT, Precision
from medsam.models.weights.catalog import read_settings, resolve
from medsam.models.weights.checkpoint import load_checkpoint
from medsam.models.weights.file import digest
from medsam.models.weights.manifest import Manifest

GRAPHS = (".onnx", ".xml")
log = logging.getLogger("medsam")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A runtime with what a Predictor must know of its weights."""

    runtime: Runtime
    manifest: Manifest
    weights: str


def load(
    model: str | Path | None, *, device: str | None, precision: Precision, runtime: RuntimeName,
    calibration: Sequence[NDArray[np.uint8]] | None, like: str | None = None,
) -> Loaded:  # fmt: skip
    """Load weights into the runtime that fits the request; see load_predictor."""
    _refuse_unknown("precision", precision, get_args(Precision))
    _refuse_unknown("runtime", runtime, get_args(RuntimeName))
    path, manifest = resolve(model, like=like)
    if path.suffix in GRAPHS:
        return Loaded(_exported(path), manifest, manifest.sha256 or digest(path))
    if runtime == "auto":
        runtime = _choose_runtime(path, manifest, device, precision)
    if runtime == "openvino":
        _refuse_openvino_elsewhere(device, precision)
        return _with_openvino(path, manifest, precision, calibration)
    return _with_torch(path, manifest, choose_device(device), precision)


def _with_torch(path: Path, manifest: Manifest, place: torch.device, precision: Precision) -> Loaded:
    if precision == "int8" and (place.type != "cpu" or manifest.architecture in LIGHT):
        raise MissingDependencyError(
            f"int8 for {manifest.name} on {place.type} in torch",
            expected="a ViT on a CPU, or OpenVINO",
            fix='use runtime="openvino" for int8, or precision="fp32"',
        )
    if precision == "fp16" and place.type == "cpu":
        log.warning("fp16 is for GPUs; on a CPU it is many times slower than fp32")
    network, bound = load_checkpoint(path, manifest)
    torch_runtime = TorchRuntime(network, device=place, precision=precision)
    return Loaded(torch_runtime, bound, bound.sha256 or hash_weights(network))


def _refuse_unknown(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise MissingDependencyError(
            f"{what} is {value!r}", expected=f"one of {', '.join(known)}", fix="choose one of them"
        )


def _exported(path: Path) -> Runtime:
    if path.suffix == ".onnx":
        from medsam.inference.runtimes import onnx

        return onnx.run_graphs(path)
    from medsam.inference.runtimes import openvino

    return openvino.run_graphs(path)


def _choose_runtime(path: Path, manifest: Manifest, device: str | None, precision: Precision) -> RuntimeName:
    """What "auto" is on this machine: measured once where OpenVINO can run the model, else torch."""
    if not _suits_openvino(manifest, device, precision):
        return "torch"
    if precision == "int8":  # of a TinyViT OpenVINO alone has it
        return "openvino"
    names: dict[RuntimeName, Callable[[], Runtime]] = {
        "torch": lambda: _with_torch(path, manifest, choose_device("cpu"), precision).runtime,
        "openvino": lambda: _with_openvino(path, manifest, precision, None).runtime,
    }
    return choose_fastest(
        names, read_settings().folder.parent / "runtimes.json", manifest, manifest.sha256 or digest(path)
    )


def _suits_openvino(manifest: Manifest, device: str | None, precision: Precision) -> bool:
    """Whether OpenVINO can stand for torch: on a CPU, one mask a prompt, and installed; int8 of a ViT is torch's own."""
    on_cpu = choose_device(device).type == "cpu"
    small = manifest.architecture in LIGHT
    fits = small and precision in ("fp32", "int8") and not manifest.multimask
    return on_cpu and fits and find_spec("openvino") is not None


def _refuse_openvino_elsewhere(device: str | None, precision: Precision) -> None:
    if device not in (None, "cpu") or precision not in ("fp32", "int8"):
        raise MissingDependencyError(
            f"OpenVINO with device {device or 'cpu'} and precision {precision}",
            expected="the CPU, in fp32 or int8",
            fix='use runtime="torch", or leave device and precision out',
        )


def _with_openvino(
    path: Path, manifest: Manifest, precision: Precision, calibration: Sequence[NDArray[np.uint8]] | None
) -> Loaded:
    """Run the graphs kept for these weights; convert and keep them the first time."""
    from medsam.inference.runtimes import openvino

    openvino.import_openvino()
    weights = manifest.sha256 or digest(path)
    encoder = (
        read_settings().folder.parent / "compiled" / f"{weights[:16]}-{precision}-openvino-{version('openvino')}.xml"
    )
    if precision == "int8" and calibration is None and not encoder.is_file():
        raise ModelUnavailableError(
            f"no int8 graph of {manifest.name} on this machine",
            expected="slices to calibrate it on, once",
            fix="use fp32, or calibrate it once in Python: load_predictor(..., precision='int8', runtime='openvino', "
            "calibration=[slice, ...]) with about 100 of the slices you will segment",
        )
    if calibration is not None or not encoder.is_file():
        log.info("converting %s for OpenVINO; this is done once", manifest.name)
        network, manifest = load_checkpoint(path, manifest)
        slices = None if precision != "int8" else _model_slices(manifest, calibration or ())
        openvino.write_graphs(network, encoder, calibration=slices)
    return Loaded(openvino.run_graphs(encoder, precision=precision), manifest, weights)


def _model_slices(manifest: Manifest, slices: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    return [manifest.make_frame(*one.shape[:2]).image_to_model(one) for one in slices]
