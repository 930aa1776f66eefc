"""The training loop: plain PyTorch, one process or as many as torchrun starts, the same steps on any number of them."""

from __future__ import annotations

import copy
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from medsam.errors import DataError, MedsamError
from medsam.inference.predictor import Predictor
from medsam.inference.runtime import Precision, TorchRuntime, choose_device
from medsam.io.atomic import replacing
from medsam.io.lock import alone
from medsam.models.checkpoint import save_checkpoint
from medsam.models.manifest import Manifest
from medsam.models.medsam import MedSAM
from medsam.models.weights_file import digest
from medsam.training import checkpoint_run
from medsam.training.board import require_tensorboard
from medsam.training.card import write_card
from medsam.training.checkpoint_run import Learner, Progress
from medsam.training.config import FREE_ON_RESUME, TrainConfig, differences, load_config
from medsam.training.dataset import Draws, micro_batches, order_of
from medsam.training.distill import Distillation, Teacher
from medsam.training.distributed import Processes, joined, spread
from medsam.training.features import Features, stem_identity
from medsam.training.memory import freed_memory_kept
from medsam.training.monitor import Monitor, draw
from medsam.training.objective import Objective
from medsam.training.optimizer import make_optimizer
from medsam.training.parts import Average, blocks_of, plain, prepare, require_compiler
from medsam.training.room import check_room
from medsam.training.sources import Source
from medsam.training.step import NotFiniteError, Run, is_half, take_step
from medsam.training.validation import Measure, Measured, measure, note

SAME_CTRL_C = 1.0  # seconds
LEAVING = 10.0  # seconds that loader processes of a killed run may take to be gone
CONFIG, DATA, MODEL, BEST, CURVE = "config.json", "data.json", "model.safetensors", "best.safetensors", "curve.png"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        progress: Where.
        total: Steps the whole run has.
        finished: False where SIGTERM or Ctrl-C stopped it.
    """

    progress: Progress
    total: int
    finished: bool


def fit(
    config: TrainConfig,
    folder: Path,
    model: MedSAM,
    manifest: Manifest,
    train: Source,
    *,
    tune: Source | None,
    measures: Mapping[str, Measure],
    teacher: Predictor | None = None,
    resume: bool = False,
    device: str | None = None,
) -> Outcome:
    """Train a model, or go on where a run was stopped or killed.

    Args:
        config: Every number of the run.
        folder: Of the run; new or empty, unless resumed.
        model: With the weights to start from; trained in place.
        manifest: Of the weights that will come out (new_manifest).
        train: Samples to learn from.
        tune: Samples to measure on during training.
        measures: What is measured; "dice" chooses the best weights.
        teacher: Whose features a student learns.
        resume: Go on from the last whole checkpoint; without one from the start.
        device: As choose_device.

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
        joined(device, config.global_batch) as processes,
        freed_memory_kept(processes.device, config),
        ExitStack() as held,
    ):
        begun = processes.agreed(partial(_claim, folder, config, held, resume=resume))
        learner, objective = _learner(config, model, manifest, processes)
        run = Run(
            config=config,
            folder=folder,
            learner=learner,
            objective=objective,
            features=_features(config, folder, learner, processes) if config.cache_embeddings else None,
            teacher=None if teacher is None else Teacher(teacher, _kept(config, folder), processes.device),
            processes=processes,
            tune=tune,
            measures=measures,
            units=len(train),
        )
        processes.agreed(partial(_begin, run, train, None if begun else held))
        progress = checkpoint_run.resume(folder, learner, processes) if resume else Progress()
        outcome = _loop(run, train, progress)
        if outcome.finished:
            _finish(run, train, outcome)
        processes.wait()
    return outcome


def _claim(folder: Path, config: TrainConfig, held: ExitStack, *, resume: bool) -> bool:
    """Refuse a folder that has a run already, or hold the configuration of the one that goes on to it; is there one?"""
    record = folder / CONFIG
    if not record.is_file():
        return False
    if not resume:
        raise _begun(folder)
    held.enter_context(alone(folder, wait=LEAVING))
    checkpoint_run.sweep(folder)
    changed = {n: v for n, v in differences(load_config(record), config).items() if n not in FREE_ON_RESUME}
    if changed:
        text = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
        raise DataError(
            f"the run in {folder} was started with another configuration ({text})",
            expected="the same",
            fix="leave --config out to go on, or start a new run with -o",
        )
    return True


def _begun(folder: Path) -> DataError:
    return DataError(f"{folder} has a run already", expected="a new folder", fix="pass --resume, or another -o")


def _begin(run: Run, train: Source, new: ExitStack | None) -> None:
    """Note the configuration and the data, once nothing speaks against the run; a new one takes its folder here."""
    data = {"train": train.identity(), "tune": None if run.tune is None else run.tune.identity()}
    data["teacher"] = None if run.teacher is None else run.teacher.predictor.weights
    record = run.folder / DATA
    if record.is_file():
        changed = [name for name, was in json.loads(record.read_text(encoding="utf-8")).items() if data[name] != was]
        if changed:
            raise DataError(
                f"the run in {run.folder} was started with other data ({', '.join(changed)})",
                expected="the same samples in the same order, and the same teacher",
                fix="bring the data back as they were, or start a new run with -o",
            )
    needs = [checkpoint_run.room(run.folder, run.learner)]
    kept = run.teacher or run.features
    if kept is not None:
        drawn = order_of(train, run.config).different(run.total * run.config.global_batch)
        measured = 0 if run.tune is None or run.features is None else run.tune.pictures
        needs.append(kept.room(min(drawn, train.pictures) + min(measured, run.config.validation_images)))
    check_room(needs)
    if new is not None:
        checkpoint_run.make_folder(run.folder)
        new.enter_context(alone(run.folder))
        if (run.folder / CONFIG).is_file():  # somebody else was faster
            raise _begun(run.folder)
    for path, text in ((record, json.dumps(data, indent=1) + "\n"), (run.folder / CONFIG, run.config.to_json())):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _learner(config: TrainConfig, model: MedSAM, manifest: Manifest, processes: Processes) -> tuple[Learner, nn.Module]:
    """What learns, and the module that computes its loss on all processes."""
    prepare(model.to(processes.device), config)
    divided = config.parallel == "fsdp" and processes.world > 1
    empty = copy.deepcopy(model).to("meta") if divided else None
    loss = Distillation(model, config) if config.student else Objective(model, config)
    objective = spread(loss, blocks_of(model.image_encoder), config.parallel, processes)
    optimizer = make_optimizer(model, config)
    average = Average(model, config.average) if config.average else None
    return Learner(model, manifest, optimizer, average, empty), objective


def _kept(config: TrainConfig, folder: Path) -> Path:
    return Path(config.cache_folder) if config.cache_folder else folder / "embeddings"


def _features(config: TrainConfig, folder: Path, learner: Learner, processes: Processes) -> Features:
    precision, device = _precision(config, processes.device), processes.device
    return Features(config, learner.model, learner.manifest, _kept(config, folder), device=device, precision=precision)


def _predictor(run: Run) -> Predictor:
    """Serves the weights as they are now: on a CPU the runtime holds copies, so one predictor is good for one look."""
    model, device = run.learner.whole(), run.processes.device
    runtime = TorchRuntime(model, device=device, precision=_precision(run.config, device))
    return Predictor(runtime, run.learner.manifest, weights=stem_identity(model))


def _precision(config: TrainConfig, device: torch.device) -> Precision:
    return "bf16" if is_half(config, device) else "fp32"


def _loop(run: Run, train: Source, progress: Progress) -> Outcome:
    config, processes = run.config, run.processes
    draws = Draws(train, run.learner.manifest, config)
    steps = range(progress.step, run.total)
    began = time.monotonic() - progress.seconds
    stop = False
    with (
        Monitor(
            run.folder,
            total=run.total,
            step=progress.step,
            measured=progress.measured_step == progress.step,
            speaks=processes.first,
            board=config.tensorboard,
        ) as monitor,
        _asked_to_stop() as asked,
        closing(micro_batches(draws, steps, rank=processes.rank, world=processes.world)) as batches,
    ):
        while True:
            if run.tune is not None and not stop:
                progress, stop = _measured(run, run.tune, monitor, progress, asked)
            progress = replace(progress, seconds=time.monotonic() - began)
            last = progress.step == run.total
            due = last or stop or progress.step % config.save_every == 0
            if progress.step and due:
                monitor.flush()
                checkpoint_run.save(run.folder, run.learner, progress, processes)
            if last:
                _refuse_nothing_learnt(progress)
            if stop or last:
                return Outcome(progress, run.total, finished=not stop)
            try:
                progress, stop = take_step(run, monitor, batches, progress, asked=asked.is_set())
            except NotFiniteError:  # on all processes at once
                checkpoint_run.save(run.folder, run.learner, progress, processes)
                raise
            except MedsamError:  # a sample that cannot be read, on this process
                if processes.world == 1 and progress.step:
                    checkpoint_run.save(run.folder, run.learner, progress, processes)
                raise


def _refuse_nothing_learnt(progress: Progress) -> None:
    if progress.step and progress.skipped == progress.step:
        raise DataError(
            f"the loss or its gradient was finite in none of the {progress.step} steps",
            expected="a loss that can be learnt from",
            fix="check the data and the numbers of the recipe, and start a new run with -o",
        )


def _measured(
    run: Run, tune: Source, monitor: Monitor, progress: Progress, asked: threading.Event
) -> tuple[Progress, bool]:
    """Measure on the tuning split where it is time to; gives the new progress and whether to stop.

    Asked to stop, it leaves the measurement, which is then made when the run goes on.
    """
    step, learner, processes = progress.step, run.learner, run.processes
    due = step in (0, run.total) or step % run.steps_between_measurements == 0
    if not due or progress.measured_step == step:
        return progress, False
    average = learner.average
    with average.applied(learner.model) if average is not None else nullcontext():
        found: list[Measured] = []
        for one in measure(
            _predictor(run),
            tune,
            run.config,
            run.measures,
            features=run.features,
            rank=processes.rank,
            world=processes.world,
        ):
            found.append(one)
            if asked.is_set():
                break
        parts = processes.gathered((found, asked.is_set()))
        if any(stop for _, stop in parts):
            return progress, True
        score = note(monitor, step, [one for part, _ in parts for one in part], list(run.measures))
        progress = replace(progress, measured_step=step)
        if progress.best_score is not None and score <= progress.best_score:
            return progress, False
        if step:
            _write(run, BEST)
    return replace(progress, best_score=score, best_step=step), False


def _finish(run: Run, train: Source, outcome: Outcome) -> None:
    """The last weights as the result (paper), with their card and the curves."""
    learner = run.learner
    with learner.average.applied(learner.model) if learner.average is not None else nullcontext():
        written = _write(run, MODEL)
    if run.processes.first:
        draw({run.config.name: run.folder}, run.folder / CURVE)
        write_card(run.folder, run.config, written, train, outcome.progress)


def _write(run: Run, name: str) -> Manifest:
    """The weights as they are now, from the first process, for all to see."""
    model = run.learner.whole()

    def written() -> Manifest:
        manifest = save_checkpoint(plain(model), run.learner.manifest, run.folder / name)
        sums = [f"{digest(run.folder / one)}  {one}\n" for one in (BEST, MODEL) if (run.folder / one).is_file()]
        with replacing(run.folder / SUMS) as temporary:
            temporary.write_text("".join(sums), encoding="utf-8")
        return manifest

    return run.processes.agreed(written)


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Within, SIGTERM and Ctrl-C set an event instead of ending the process; only the main thread can ask for that.

    A second Ctrl-C ends it at once, unless it comes with the first: torchrun passes on what the terminal has sent to all.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    first = time.monotonic()

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        del frame
        if not asked.is_set():
            first = time.monotonic()
            asked.set()
        elif number == signal.SIGINT and time.monotonic() - first > SAME_CTRL_C:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
