"""What the parts of a run share, and how a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from medsam.training.config import TrainConfig
from medsam.training.learner.distillation import Teacher
from medsam.training.learner.frozen_features import Features
from medsam.training.run.checkpoint import Learner
from medsam.training.run.distributed import Processes
from medsam.training.run.sealed import RunPosition
from medsam.training.samples.dataset import count_steps
from medsam.training.samples.sources import SampleSource


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What the steps of a run share.

    Args:
        config: Every number of the run.
        folder: Of the run.
        learner: What a checkpoint holds.
        objective: Gives the loss of a batch; it works on all processes.
        features: What a frozen part of the encoder made of pictures; None where it is not kept.
        teacher: Whose features a student learns.
        processes: That share the work.
        tune: Samples to measure on.
        units: How many there are to learn from.
    """

    config: TrainConfig
    folder: Path
    learner: Learner
    objective: nn.Module
    features: Features | None
    teacher: Teacher | None
    processes: Processes
    tune: SampleSource | None
    units: int

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return count_steps(self.units, self.config)

    @property
    def steps_between_measurements(self) -> int:
        """On the tuning split; an epoch's where the configuration names no number."""
        return self.config.validate_every or max(1, round(self.units / self.config.global_batch))


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Args:
        progress: Where.
        total: Steps the whole run has.
        finished: False where SIGTERM or Ctrl-C stopped it.
    """

    progress: RunPosition
    total: int
    finished: bool
