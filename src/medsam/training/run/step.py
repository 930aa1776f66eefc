"""One step of a run: the global batch through the model in micro-batches, on as many processes as there are."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from medsam.errors import DataError
from medsam.training.config import TrainConfig
from medsam.training.learner.optimizer import compute_learning_rate, set_rate
from medsam.training.learner.trainable import list_trainable
from medsam.training.run.distributed import gather_tensor, is_divided, skip_exchange
from medsam.training.run.monitor import Monitor
from medsam.training.run.sealed import WEIGHTS, RunPosition
from medsam.training.run.state import TrainingRun
from medsam.training.samples.dataset import Batch, list_draws

BAD_STEPS = 10  # in a row with a loss that is not finite, then the run stops


class NotFiniteError(DataError):
    """Too many losses in a row were not finite; raised on all processes."""


def take_step(
    run: TrainingRun, monitor: Monitor, batches: Iterator[Batch], progress: RunPosition, *, asked: bool
) -> tuple[RunPosition, bool]:
    """Take one step on the global batch; gives the new progress and whether any process was asked to stop."""
    config, processes, step = run.config, run.processes, progress.step
    optimizer, began = run.learner.optimizer, time.monotonic()
    rate = compute_learning_rate(config, step, run.total)
    set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    losses, names, waited = _accumulate(run, batches, step)
    total = processes.total(torch.stack([losses.double().sum(), losses.new_tensor(float(asked)).double()]))
    loss, stop = float(total[0]) / config.global_batch, bool(total[1] > 0)
    gradients = [p.grad for p in list_trainable(run.learner.model).values() if p.grad is not None]
    norm = float(gather_tensor(get_total_norm(gradients))) if math.isfinite(loss) else math.nan
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


def _accumulate(run: TrainingRun, batches: Iterator[Batch], step: int) -> tuple[Tensor, list[str], float]:
    """Gradients of this process's share of the global batch; gives the loss and name of each image, and the wait."""
    config, processes = run.config, run.processes
    counts = [len(list_draws(step, config, rank, processes.world)) for rank in range(processes.world)]
    own = counts[processes.rank]
    # divided weights are gathered by all processes at once: one with fewer micro-batches repeats its last for nothing
    passes = max(counts) if is_divided(run.objective) else own
    losses: list[Tensor] = []
    names: list[str] = []
    waited = 0.0
    for part in range(passes):
        if part < own:
            began = time.monotonic()
            batch = next(batches).to(processes.device)
            waited += time.monotonic() - began
        with skip_exchange(run.objective) if part + 1 < passes else nullcontext():
            with set_precision(config, processes.device):
                losses_B = run.objective(batch, _known(run, batch))
            # the mean over processes is taken of gradients, the loss is a mean over the global batch
            share_of_loss = processes.world / config.global_batch if part < own else 0.0
            (losses_B.sum() * share_of_loss).backward()
        if part < own:
            losses.append(losses_B.detach())
            names += batch.names
    return torch.cat(losses), names, waited


def _known(run: TrainingRun, batch: Batch) -> Tensor | None:
    """What is kept of these pictures: the features that are to be learnt, or those under a frozen stem."""
    source = run.teacher or run.features
    return None if source is None else source.encode(batch.slices)


def is_half(config: TrainConfig, device: torch.device) -> bool:
    """Whether bf16 is computed with; it has the exponents of fp32, so that losses need no scaling."""
    return config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")


def set_precision(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """Within, the precision of the forward pass is that of the run."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=is_half(config, device))


def _count_bad(run: TrainingRun, losses: Tensor, names: list[str], progress: RunPosition) -> None:
    """Stop after BAD_STEPS steps in a row, with the samples of the last one."""
    if progress.skipped_in_row + 1 < BAD_STEPS:
        return
    finite = torch.isfinite(losses).tolist()
    mine = [name for name, good in zip(names, finite, strict=True) if not good]
    bad = [name for part in run.processes.gather(mine) for name in part]
    weights = run.folder / "checkpoints" / f"step-{progress.step:08d}" / WEIGHTS
    raise NotFiniteError(
        f"the loss or its gradient was not finite in {BAD_STEPS} steps in a row, the last at step {progress.step + 1}"
        f" (samples: {', '.join(bad[:20]) or 'none by itself'})",
        expected="a finite loss",
        fix=f"look at these samples; to go on without them or with a lower learning_rate, start a new run from {weights}",
    )


def _memory_mib(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
