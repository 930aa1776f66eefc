"""The training loop: plain PyTorch, one process or as many as torchrun starts, the same steps on any number of them."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from medsam.errors import DataError, MedsamError
from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import choose_device
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.manifest import Manifest
from medsam.progress import StepProgress
from medsam.training.config import TrainConfig
from medsam.training.learner.compiler import require_compiler
from medsam.training.run import checkpoint as checkpoint_run
from medsam.training.run.allocator import keep_freed_memory
from medsam.training.run.build import build_learner, build_run
from medsam.training.run.distributed import join_processes
from medsam.training.run.folder import begin_run, claim_folder
from medsam.training.run.monitor import Monitor
from medsam.training.run.result import finish_run
from medsam.training.run.sealed import RunPosition
from medsam.training.run.state import RunOutcome, TrainingRun
from medsam.training.run.step import NotFiniteError, take_step
from medsam.training.run.stop import catch_stop_signals
from medsam.training.run.tensorboard import require_tensorboard
from medsam.training.run.tuning import measure_when_due
from medsam.training.samples.dataset import Draws, load_batches
from medsam.training.samples.sources import SampleSource

LEAVING = 10.0  # seconds that loader processes of a killed run may take to be gone


def fit(
    config: TrainConfig,
    folder: Path,
    model: MedSAM,
    manifest: Manifest,
    train: SampleSource,
    *,
    tune: SampleSource | None,
    teacher: Predictor | None = None,
    resume: bool = False,
    device: str | None = None,
    progress: StepProgress | None = None,
    wait: float = LEAVING,
) -> RunOutcome:
    """Train a model, or go on where a run was stopped or killed.

    Args:
        config: Every number of the run.
        folder: Of the run; new or empty, unless resumed.
        model: With the weights to start from; trained in place.
        manifest: Of the weights that will come out (new_manifest).
        train: Samples to learn from.
        tune: Samples to measure on during training; Dice chooses the best weights.
        teacher: Whose features a student learns.
        resume: Go on from the last whole checkpoint; without one from the start.
        device: As choose_device.
        progress: Told of every step by the first process.
        wait: Seconds to wait for another process to leave the folder of a run that goes on.

    Raises:
        DataError: the folder has a run already, or resumes with another configuration; ten losses in a row not finite.
        OutputError: the disk has no room for the run, or refused later; earlier checkpoints are whole.
        MissingDependencyError: TensorBoard or compiled blocks are asked for, and what they need is not installed.
    """
    if config.tensorboard:
        require_tensorboard()
    if config.compile:
        require_compiler(choose_device(device))
    with (
        join_processes(device, config.global_batch) as processes,
        keep_freed_memory(processes.device, config),
        ExitStack() as held,
    ):
        begun = processes.agree(partial(claim_folder, folder, config, held, resume=resume, wait=wait))
        learner, objective = build_learner(config, model, manifest, processes)
        run = build_run(
            config, folder, learner, objective, train=train, tune=tune, teacher=teacher, processes=processes
        )
        processes.agree(partial(begin_run, run, train, None if begun else held))
        reached = checkpoint_run.resume(folder, learner, processes) if resume else RunPosition()
        outcome = _run_steps(run, train, reached, progress)
        if outcome.finished:
            finish_run(run, train, outcome.progress)
        processes.wait()
    return outcome


def _run_steps(run: TrainingRun, train: SampleSource, progress: RunPosition, show: StepProgress | None) -> RunOutcome:
    config, processes = run.config, run.processes
    draws = Draws(train, run.learner.manifest, config)
    steps = range(progress.step, run.total)
    began = time.monotonic() - progress.seconds
    stop = False
    with (
        closing(
            Monitor(
                run.folder,
                total=run.total,
                step=progress.step,
                measured=progress.measured_step == progress.step,
                speaks=processes.first,
                board=config.tensorboard,
                progress=show,
            )
        ) as monitor,
        catch_stop_signals() as asked,
        closing(load_batches(draws, steps, rank=processes.rank, world=processes.world)) as batches,
    ):
        while True:
            if run.tune is not None and not stop:
                progress, stop = measure_when_due(run, run.tune, monitor, progress, asked)
            progress = replace(progress, seconds=time.monotonic() - began)
            last = progress.step == run.total
            due = last or stop or progress.step % config.save_every == 0
            if progress.step and due:
                monitor.flush()
                checkpoint_run.save(run.folder, run.learner, progress, processes)
            if last:
                _refuse_nothing_learnt(progress)
            if stop or last:
                return RunOutcome(progress, run.total, finished=not stop)
            try:
                progress, stop = take_step(run, monitor, batches, progress, asked=asked.is_set())
            except NotFiniteError:  # on all processes at once
                checkpoint_run.save(run.folder, run.learner, progress, processes)
                raise
            except MedsamError:  # a sample that cannot be read, on this process
                if processes.world == 1 and progress.step:
                    checkpoint_run.save(run.folder, run.learner, progress, processes)
                raise


def _refuse_nothing_learnt(progress: RunPosition) -> None:
    if progress.step and progress.skipped == progress.step:
        raise DataError(
            f"the loss or its gradient was finite in none of the {progress.step} steps",
            expected="a loss that can be learnt from",
            fix="check the data and the numbers of the recipe, and start a new run with -o",
        )
