"""The tuning split measured in time, and the best weights so far kept."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import replace

from medsam.training.run.build import make_predictor
from medsam.training.run.folder import BEST
from medsam.training.run.monitor import Monitor
from medsam.training.run.result import write_weights
from medsam.training.run.sealed import RunPosition
from medsam.training.run.state import TrainingRun
from medsam.training.run.validation import MeasuredUnit, measure_source, record_measurement
from medsam.training.samples.sources import SampleSource


def measure_when_due(
    run: TrainingRun, tune: SampleSource, monitor: Monitor, progress: RunPosition, asked: threading.Event
) -> tuple[RunPosition, bool]:
    """Measure on the tuning split where it is time to, and write the weights where they are the best so far.

    A run that is asked to stop leaves the measurement, which is then made when the run goes on.

    Args:
        run: In training.
        tune: Samples to measure on.
        monitor: Where the scores go.
        progress: Of the run.
        asked: Set where the run is asked to stop.

    Returns:
        The new progress, and whether to stop.
    """
    step, learner, processes = progress.step, run.learner, run.processes
    due = step in (0, run.total) or step % run.steps_between_measurements == 0
    if not due or progress.measured_step == step:
        return progress, False
    average = learner.average
    with average.applied(learner.model) if average is not None else nullcontext():
        found: list[MeasuredUnit] = []
        for one in measure_source(
            make_predictor(run), tune, run.config, features=run.features, rank=processes.rank, world=processes.world
        ):
            found.append(one)
            if asked.is_set():
                break
        parts = processes.gather((found, asked.is_set()))
        if any(stop for _, stop in parts):
            return progress, True
        score = record_measurement(monitor, step, [one for part, _ in parts for one in part])
        progress = replace(progress, measured_step=step)
        if progress.best_score is not None and score <= progress.best_score:
            return progress, False
        if step:
            write_weights(run, BEST)
    return replace(progress, best_score=score, best_step=step), False
