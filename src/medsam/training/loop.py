"""The training loop: plain PyTorch, one process or as many as torchrun starts, the same steps on any number of them."""

from __future__ import annotations

import math
import resource
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from medsam.errors import DataError
from medsam.inference.predictor import Predictor
from medsam.inference.runtime import Precision, TorchRuntime
from medsam.io.atomic import replacing
from medsam.models.checkpoint import save_checkpoint
from medsam.models.manifest import Manifest
from medsam.models.medsam import MedSAM
from medsam.training import checkpoint_run
from medsam.training.board import require_tensorboard
from medsam.training.card import write_card
from medsam.training.checkpoint_run import Learner, Progress
from medsam.training.config import FREE_ON_RESUME, TrainConfig, differences, load_config
from medsam.training.dataset import Batch, Draws, micro_batches, share, total_steps
from medsam.training.distributed import Processes, joined
from medsam.training.features import Features, stem_identity
from medsam.training.monitor import Monitor, draw
from medsam.training.objective import Objective
from medsam.training.optimizer import learning_rate, make_optimizer, set_rate
from medsam.training.parts import Average, learning, plain, prepare
from medsam.training.sources import Source
from medsam.training.validation import Measure, Measured, measure, note

CONFIG, MODEL, BEST, CURVE = "config.json", "model.safetensors", "best.safetensors", "curve.png"
BAD_STEPS = 10  # in a row with a loss that is not finite, then the run stops


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Args:
        progress: Where.
        total: Steps the whole run has.
        finished: False where SIGTERM stopped it.
    """

    progress: Progress
    total: int
    finished: bool


@dataclass(frozen=True, eq=False)
class _Run:
    """What the steps of a run share."""

    config: TrainConfig
    folder: Path
    learner: Learner
    objective: nn.Module
    features: Features | None
    processes: Processes
    tune: Source | None
    measures: Mapping[str, Measure]
    units: int

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return total_steps(self.units, self.config)

    @property
    def steps_between_measurements(self) -> int:
        """On the tuning split; an epoch's where the configuration names no number."""
        return self.config.validate_every or max(1, round(self.units / self.config.global_batch))


def fit(
    config: TrainConfig,
    folder: Path,
    model: MedSAM,
    manifest: Manifest,
    train: Source,
    *,
    tune: Source | None,
    measures: Mapping[str, Measure],
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
        resume: Go on from the last whole checkpoint; without one from the start.
        device: As choose_device.

    Raises:
        DataError: the folder has a run already, or resumes with another configuration; ten losses in a row not finite.
        OutputError: the disk refused; earlier checkpoints are whole.
        MissingDependencyError: TensorBoard is asked for and not installed.
    """
    if config.tensorboard:
        require_tensorboard()
    with joined(device, config.global_batch) as processes:
        if processes.first:
            _claim(folder, config, resume=resume)
        processes.wait()
        learner = _learner(config, model, manifest, processes)
        run = _Run(
            config=config,
            folder=folder,
            learner=learner,
            objective=_parallel(Objective(model, config), processes),
            features=_features(config, folder, learner, processes) if config.cache_embeddings else None,
            processes=processes,
            tune=tune,
            measures=measures,
            units=len(train),
        )
        progress = checkpoint_run.resume(folder, run.learner) if resume else Progress()
        outcome = _loop(run, train, progress)
        if outcome.finished and processes.first:
            _finish(run, train, outcome)
        processes.wait()
    return outcome


def _claim(folder: Path, config: TrainConfig, *, resume: bool) -> None:
    record = folder / CONFIG
    if record.is_file() and not resume:
        raise DataError(f"{folder} has a run already", expected="a new folder", fix="pass --resume, or another -o")
    if record.is_file():
        checkpoint_run.sweep(folder)
        changed = {n: v for n, v in differences(load_config(record), config).items() if n not in FREE_ON_RESUME}
        if changed:
            text = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in changed.items())
            raise DataError(
                f"the run in {folder} was started with another configuration ({text})",
                expected="the same",
                fix="leave --config out to go on, or start a new run with -o",
            )
    with replacing(record) as temporary:
        temporary.write_text(config.to_json(), encoding="utf-8")


def _learner(config: TrainConfig, model: MedSAM, manifest: Manifest, processes: Processes) -> Learner:
    prepare(model.to(processes.device), config)
    optimizer = make_optimizer(model, config)
    return Learner(model, manifest, optimizer, Average(model, config.average) if config.average else None)


def _parallel(objective: Objective, processes: Processes) -> nn.Module:
    if processes.world == 1:
        return objective
    on = [processes.device] if processes.device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=on)


def _features(config: TrainConfig, folder: Path, learner: Learner, processes: Processes) -> Features:
    place = Path(config.cache_folder) if config.cache_folder else folder / "embeddings"
    precision, device = _precision(config, processes.device), processes.device
    return Features(config, learner.model, learner.manifest, place, device=device, precision=precision)


def _predictor(run: _Run) -> Predictor:
    """Serves the weights as they are now: on a CPU the runtime holds copies, so one predictor is good for one look."""
    model, device = run.learner.model, run.processes.device
    runtime = TorchRuntime(model, device=device, precision=_precision(run.config, device))
    return Predictor(runtime, run.learner.manifest, weights=stem_identity(model))


def _precision(config: TrainConfig, device: torch.device) -> Precision:
    return "bf16" if _is_half(config, device) else "fp32"


def _is_half(config: TrainConfig, device: torch.device) -> bool:
    return config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")


def _loop(run: _Run, train: Source, progress: Progress) -> Outcome:
    config, processes = run.config, run.processes
    draws = Draws(train, run.learner.manifest, config)
    steps = range(progress.step, run.total)
    batches = micro_batches(draws, steps, rank=processes.rank, world=processes.world)
    began = time.monotonic() - progress.seconds
    stop = False
    with (
        Monitor(
            run.folder, total=run.total, step=progress.step, speaks=processes.first, board=config.tensorboard
        ) as monitor,
        _terminated() as asked,
    ):
        while True:
            if run.tune is not None and not stop:
                progress, stop = _measured(run, run.tune, monitor, progress, asked)
            progress = replace(progress, seconds=time.monotonic() - began)
            last = progress.step == run.total
            due = last or stop or progress.step % config.save_every == 0
            if processes.first and progress.step and due:
                monitor.flush()
                checkpoint_run.save(run.folder, run.learner, progress)
            if stop or last:
                return Outcome(progress, run.total, finished=not stop)
            progress, stop = _step(run, monitor, batches, progress, asked=asked.is_set())


def _step(
    run: _Run, monitor: Monitor, batches: Iterator[Batch], progress: Progress, *, asked: bool
) -> tuple[Progress, bool]:
    """One step on the global batch; gives the new progress and whether any process was asked to stop."""
    config, processes, step = run.config, run.processes, progress.step
    optimizer, began = run.learner.optimizer, time.monotonic()
    rate = learning_rate(config, step, run.total)
    set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    losses, names, waited = _accumulate(run, batches, step)
    total = processes.total(torch.stack([losses.double().sum(), losses.new_tensor(float(asked)).double()]))
    loss, stop = float(total[0]) / config.global_batch, bool(total[1] > 0)
    gradients = [p.grad for p in learning(run.learner.model).values() if p.grad is not None]
    norm = float(get_total_norm(gradients)) if math.isfinite(loss) else math.nan
    good = math.isfinite(norm)
    if good:
        optimizer.step()
        if run.learner.average is not None:
            run.learner.average.update(run.learner.model, step)
    else:
        _count_bad(run, losses, names, progress)
    progress = replace(
        progress,
        step=step + 1,
        skipped=progress.skipped + (not good),
        skipped_in_row=0 if good else progress.skipped_in_row + 1,
    )
    seconds = time.monotonic() - began
    speed = config.global_batch / seconds
    epoch = (step + 1) * config.global_batch / run.units
    monitor.write(
        {
            "step": step + 1, "epoch": round(epoch, 4), "loss": loss, "learning_rate": rate, "gradient_norm": norm,
            "samples_per_second": round(speed, 3), "waited_seconds": round(waited, 4),
            "memory_mib": _memory_mib(processes.device), "skipped": progress.skipped,
        }
    )  # fmt: skip
    monitor.show(step + 1, f"loss {loss:.4f}  {speed:.1f} samples/s  {_memory_mib(processes.device)} MiB")
    return progress, stop


def _accumulate(run: _Run, batches: Iterator[Batch], step: int) -> tuple[Tensor, list[str], float]:
    """Gradients of this process's share of the global batch; gives the loss and name of each image, and the wait."""
    config, processes = run.config, run.processes
    parts = len(share(step, config, processes.rank, processes.world))
    losses: list[Tensor] = []
    names: list[str] = []
    waited = 0.0
    for part in range(parts):
        began = time.monotonic()
        batch = next(batches).to(processes.device)
        waited += time.monotonic() - began
        alone = isinstance(run.objective, DistributedDataParallel) and part + 1 < parts
        quiet: AbstractContextManager[object] = run.objective.no_sync() if alone else nullcontext()  # type: ignore[operator]
        half = torch.autocast(processes.device.type, dtype=torch.bfloat16, enabled=_is_half(config, processes.device))
        with quiet:
            with half:
                losses_B = run.objective(batch, None if run.features is None else run.features.of(batch.slices))
            # DistributedDataParallel divides by the number of processes, the loss by the global batch
            (losses_B.sum() * (processes.world / config.global_batch)).backward()
        losses.append(losses_B.detach())
        names += batch.names
    return torch.cat(losses), names, waited


def _count_bad(run: _Run, losses: Tensor, names: list[str], progress: Progress) -> None:
    """Stop after BAD_STEPS steps in a row, with the samples of the last one."""
    if progress.skipped_in_row + 1 < BAD_STEPS:
        return
    finite = torch.isfinite(losses).tolist()
    mine = [name for name, good in zip(names, finite, strict=True) if not good]
    bad = [name for part in run.processes.gathered(mine) for name in part]
    raise DataError(
        f"the loss or its gradient was not finite in {BAD_STEPS} steps in a row, the last at step {progress.step + 1}"
        f" (samples: {', '.join(bad[:20]) or 'none by itself'})",
        expected="a finite loss",
        fix="look at these samples, or lower learning_rate, and resume from the last checkpoint",
    )


def _measured(
    run: _Run, tune: Source, monitor: Monitor, progress: Progress, asked: threading.Event
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
        if processes.first and step:
            save_checkpoint(plain(learner.model), learner.manifest, run.folder / BEST)
    return replace(progress, best_score=score, best_step=step), False


def _finish(run: _Run, train: Source, outcome: Outcome) -> None:
    """The last weights as the result (paper), with their card and the curves."""
    learner = run.learner
    with learner.average.applied(learner.model) if learner.average is not None else nullcontext():
        written = save_checkpoint(plain(learner.model), learner.manifest, run.folder / MODEL)
    draw({run.config.name: run.folder}, run.folder / CURVE)
    write_card(run.folder, run.config, written, train, outcome.progress)


@contextmanager
def _terminated() -> Iterator[threading.Event]:
    """Within, SIGTERM sets an event instead of ending the process; only the main thread can ask for that."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.set()

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _memory_mib(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
