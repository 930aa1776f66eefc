"""Checkpoints of a run: a folder each, whole or absent, with checksums; the last two are kept.

There is no state of a random generator in them: every random choice of a run is a function of its seed and the number
of the draw, so the step alone says where in the data a run is.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from medsam.errors import CheckpointError
from medsam.files.disk_space import Need, measure_size
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.checkpoint import save_checkpoint
from medsam.models.weights.manifest import Manifest
from medsam.training.learner.average import Average
from medsam.training.learner.trainable import list_trainable
from medsam.training.run import optimizer_state
from medsam.training.run.distributed import Processes, divide_like, gather_tensor
from medsam.training.run.sealed import (
    KEPT,
    WEIGHTS,
    RunPosition,
    begin_folder,
    find_latest,
    locate_checkpoint,
    refuse_disk,
    seal_folder,
)

AVERAGE = "average.safetensors"


@dataclass(frozen=True, eq=False)
class Learner:
    """What a checkpoint holds besides the progress.

    Args:
        model: In training.
        manifest: Of the weights.
        optimizer: Over what learns.
        average: Of what learns, where one is kept.
        empty: The model without memory for weights, where those are divided among processes.
    """

    model: MedSAM
    manifest: Manifest
    optimizer: Optimizer
    average: Average | None
    empty: MedSAM | None = None

    def whole(self) -> MedSAM:
        """The model, or a copy with whole weights where they are divided; all processes call it together."""
        if self.empty is None:
            return self.model
        tensors = {name: gather_tensor(tensor.detach()) for name, tensor in self.model.state_dict().items()}
        copied = copy.deepcopy(self.empty)
        copied.load_state_dict(tensors, strict=True, assign=True)
        return copied


def estimate_need(run: Path, learner: Learner) -> Need:
    """Estimate what a run writes: three checkpoints at once and two models, less what is there.

    Raises:
        OutputError: the folder cannot be read.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in learner.model.state_dict().values())
    learnt = sum(tensor.numel() * tensor.element_size() for tensor in list_trainable(learner.model).values())
    moments = learnt * (2 if learner.average is None else 3)
    with refuse_disk(run):
        there = measure_size(run / "checkpoints") + sum(file.stat().st_size for file in run.glob("*") if file.is_file())
    wanted = (KEPT + 1) * (weights + moments) + 2 * weights
    return Need(run, max(0, wanted - there), "the checkpoints and weights of this run")


def make_folder(run: Path) -> None:
    """Make the folder of a run.

    Raises:
        OutputError: it cannot be made.
    """
    with refuse_disk(run):
        run.mkdir(parents=True, exist_ok=True)


def save(run: Path, learner: Learner, progress: RunPosition, processes: Processes) -> Path:
    """Write a checkpoint and drop all but the last two; all processes call it together.

    Raises:
        OutputError: no room or no permission; earlier checkpoints are untouched.
    """
    folder = locate_checkpoint(run, progress)
    with ExitStack() as stack:
        temporary = processes.agree(partial(begin_folder, folder, stack, progress))
        if temporary is None:
            return folder
        with refuse_disk(folder):
            optimizer_state.write(temporary, learner.model, learner.optimizer, processes)
        model, average = learner.whole(), {}
        if learner.average is not None:
            average = {name: gather_tensor(one) for name, one in learner.average.values.items()}

        def complete() -> bool:
            with refuse_disk(folder):
                save_checkpoint(model, learner.manifest, temporary / WEIGHTS)
                if average:
                    save_file({name: one.cpu().contiguous() for name, one in average.items()}, temporary / AVERAGE)
                optimizer_state.check_written(temporary)
            seal_folder(folder, temporary, stack, progress)
            return True

        processes.agree(complete)
    return folder


def resume(run: Path, learner: Learner, processes: Processes) -> RunPosition:
    """Load the latest whole checkpoint of a run, of however many processes; all processes call it together.

    A damaged one is passed over for the one before it.

    Raises:
        DataError: checkpoints are there, and none is whole.
        CheckpointError: they are of another architecture.
    """
    folder, progress = processes.agree(partial(find_latest, run))
    if folder is None:
        return progress
    _load_weights(folder, learner)
    optimizer_state.read(folder, learner.model, learner.optimizer)
    if learner.average is not None:
        kept = load_file(folder / AVERAGE)
        values = learner.average.values
        learner.average.values = {name: divide_like(kept[name].to(v.device), v) for name, v in values.items()}
    return progress


def _load_weights(folder: Path, learner: Learner) -> None:
    try:
        tensors: dict[str, Tensor] = load_file(folder / WEIGHTS)
        if learner.empty is None:
            learner.model.load_state_dict(tensors, strict=True)
        else:
            copy.deepcopy(learner.empty).load_state_dict(tensors, strict=True, assign=True)  # names and shapes
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} does not fit the model ({str(error).splitlines()[0]:.120})",
            expected="a checkpoint of the same architecture and parts",
            fix="resume with the configuration the run was started with",
        ) from None
    if learner.empty is not None:
        with torch.no_grad():
            for name, tensor in learner.model.state_dict().items():
                tensor.copy_(divide_like(tensors[name], tensor))
