"""The parts of a run, made from its configuration: what learns, its loss, what is kept of pictures, a predictor."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.models.networks.architecture import Precision
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.manifest import Manifest
from medsam.training.config import TrainConfig
from medsam.training.learner.average import Average
from medsam.training.learner.distillation import Distillation, Teacher
from medsam.training.learner.frozen_features import Features, hash_stem
from medsam.training.learner.objective import Objective
from medsam.training.learner.optimizer import make_optimizer
from medsam.training.learner.trainable import list_blocks, set_trainable
from medsam.training.run.checkpoint import Learner
from medsam.training.run.distributed import Processes, spread_model
from medsam.training.run.state import TrainingRun
from medsam.training.run.step import is_half
from medsam.training.samples.sources import SampleSource


def build_run(
    config: TrainConfig,
    folder: Path,
    learner: Learner,
    objective: nn.Module,
    *,
    train: SampleSource,
    tune: SampleSource | None,
    teacher: Predictor | None,
    processes: Processes,
) -> TrainingRun:
    """Put the parts of a run together.

    Args:
        config: Every number of the run.
        folder: Of the run.
        learner: From build_learner.
        objective: From build_learner.
        train: Samples to learn from.
        tune: Samples to measure on.
        teacher: Whose features a student learns.
        processes: That share the work.
    """
    kept = Path(config.cache_folder) if config.cache_folder else folder / "embeddings"
    features = None
    if config.cache_embeddings:
        precision, device = _precision_of(config, processes.device), processes.device
        features = Features(config, learner.model, learner.manifest, kept, device=device, precision=precision)
    return TrainingRun(
        config=config,
        folder=folder,
        learner=learner,
        objective=objective,
        features=features,
        teacher=None if teacher is None else Teacher(teacher, kept, processes.device),
        processes=processes,
        tune=tune,
        units=len(train),
    )


def build_learner(
    config: TrainConfig, model: MedSAM, manifest: Manifest, processes: Processes
) -> tuple[Learner, nn.Module]:
    """Make a model learn: what a checkpoint will hold, and the module that computes its loss on all processes.

    Args:
        config: What learns and how.
        model: Changed in place.
        manifest: Of the weights that will come out.
        processes: That share the work.
    """
    set_trainable(model.to(processes.device), config)
    divided = config.parallel == "fsdp" and processes.world > 1
    empty = copy.deepcopy(model).to("meta") if divided else None
    loss = Distillation(model, config) if config.student else Objective(model, config)
    objective = spread_model(loss, list_blocks(model.image_encoder), config.parallel, processes)
    optimizer = make_optimizer(model, config)
    average = Average(model, config.average) if config.average else None
    return Learner(model, manifest, optimizer, average, empty), objective


def make_predictor(run: TrainingRun) -> Predictor:
    """Serve the weights as they are now: on a CPU the runtime holds copies, so one predictor is good for one look."""
    model, device = run.learner.whole(), run.processes.device
    runtime = TorchRuntime(model, device=device, precision=_precision_of(run.config, device))
    return Predictor(runtime, run.learner.manifest, weights=hash_stem(model))


def _precision_of(config: TrainConfig, device: torch.device) -> Precision:
    return "bf16" if is_half(config, device) else "fp32"
