"""The optimizer in a checkpoint: one file of one process, a folder of torch.distributed.checkpoint of several.

Either is read by any number of processes, whole or divided, because states are found by the names of their parameters.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from medsam.errors import CheckpointError, OutputError
from medsam.training.learner.trainable import list_trainable
from medsam.training.run.distributed import Processes, divide_like

FILE, FOLDER = "optimizer.pt", "optimizer"


def write(folder: Path, model: nn.Module, optimizer: Optimizer, processes: Processes) -> None:
    """Write the state into the folder of a checkpoint; all processes write their parts at the same time.

    Raises:
        OutputError: the disk of any of them refused.
    """
    if processes.world == 1:
        torch.save(optimizer.state_dict(), folder / FILE)
        return
    states = {
        f"{name}/{key}": value
        for name, parameter in list_trainable(model).items()
        for key, value in optimizer.state[parameter].items()
    }
    try:
        save(states, checkpoint_id=folder / FOLDER)
    except CheckpointException as error:
        reasons = sorted({str(one) for one, _ in error.failures.values()})
        raise OutputError(
            f"{folder} could not be written by every process ({'; '.join(reasons):.200})",
            expected="a folder with room that all processes share",
            fix="free space or write elsewhere; earlier checkpoints are whole",
        ) from error


def check_written(folder: Path) -> None:
    """See that the first process finds what the others wrote.

    Raises:
        OutputError: it does not: they wrote on disks of their own.
    """
    place = folder / FOLDER
    if not place.is_dir():
        return
    wanted = {str(one.relative_path) for one in (_metadata(place).storage_data or {}).values()}
    absent = sorted(name for name in wanted if not (place / name).is_file())
    if absent:
        raise OutputError(
            f"{place} lacks {', '.join(absent)[:100]}, which other processes wrote",
            expected="a folder on a disk that all nodes share",
            fix="choose -o on such a disk",
        )


def read(folder: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Set the state from the folder of a checkpoint; all processes read together.

    Raises:
        CheckpointError: it is the state of other parameters.
    """
    if not (folder / FILE).is_file():
        _read_folder(folder / FOLDER, model, optimizer)
        return
    kept = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not any(isinstance(parameter, DTensor) for parameter in parameters):
        optimizer.load_state_dict(kept)
        return
    numbers = [number for group in kept["param_groups"] for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        state = kept["state"].get(number, {})
        optimizer.state[parameter] = {key: divide_like(value, parameter) for key, value in state.items()}


def _read_folder(folder: Path, model: nn.Module, optimizer: Optimizer) -> None:
    parameters = list_trainable(model)
    states: dict[str, Tensor] = {}
    for key, what in _metadata(folder).state_dict_metadata.items():
        parameter = parameters.get(key.rpartition("/")[0])
        if parameter is None or not isinstance(what, TensorStorageMetadata):
            raise CheckpointError(
                f"{folder} holds {key}", expected="the state of what learns", fix="resume with the same configuration"
            )
        alike = what.size == parameter.shape
        states[key] = torch.zeros_like(parameter) if alike else torch.zeros(what.size, dtype=what.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is")  # one process reads what several wrote
        load(states, checkpoint_id=folder)
    for key, value in states.items():
        name, _, what_it_is = key.rpartition("/")
        optimizer.state[parameters[name]][what_it_is] = value.detach()


def _metadata(folder: Path) -> Metadata:
    return FileSystemReader(folder).read_metadata()
