"""A specialist trained: one process, resumable to the bit, the last checkpoint is the result (paper)."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from medsam.baselines.specialist import SpecialistManifest, save_specialist
from medsam.baselines.unet import UNetPlan
from medsam.files.atomic import write_text
from medsam.files.disk_space import Need, check_room
from medsam.files.lock import hold_folder
from medsam.inference.runtimes.torch import choose_device
from medsam.progress import StepProgress
from medsam.training.config import compare_configs
from medsam.training.run.folder import MODEL, SUMS, explain_taken, refuse_changes, refuse_other_data, write_record
from medsam.training.run.monitor import Monitor
from medsam.training.run.optimizer_state import FILE as OPTIMIZER
from medsam.training.run.sealed import KEPT, WEIGHTS, RunPosition, find_latest, refuse_disk, sweep, write_checkpoint
from medsam.training.run.state import RunOutcome
from medsam.training.run.step import BAD_STEPS, NotFiniteError
from medsam.training.run.stop import catch_stop_signals
from medsam.training.specialist.card import write_specialist_card
from medsam.training.specialist.config import SpecialistConfig, load_specialist_config
from medsam.training.specialist.learner import (
    LARGEST_NORM,
    UNET_STEPS,
    compute_specialist_loss,
    compute_specialist_rate,
    make_specialist_optimizer,
    plan_network,
    start_network,
)
from medsam.training.specialist.samples import BoxBatches, SelectedSource, open_samples

RECORD = "specialist.json"  # the configuration of a run


@dataclass(frozen=True, eq=False)
class SpecialistRun:
    """What the steps of a run share.

    Args:
        config: Every number of the run.
        folder: Of the run.
        source: Units to learn from.
        plan: Of the network.
        network: In training, on its device.
        optimizer: Over all of it.
        device: Where it runs.
    """

    config: SpecialistConfig
    folder: Path
    source: SelectedSource
    plan: UNetPlan
    network: nn.Module
    optimizer: Optimizer
    device: torch.device

    @property
    def steps_per_epoch(self) -> int:
        """As the configuration says, or the network's own."""
        own = UNET_STEPS if self.config.network == "unet" else -(-len(self.source) // self.plan.batch_size)
        return self.config.steps_per_epoch or own

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    def describe(self, progress: RunPosition) -> SpecialistManifest:
        """Say what the weights are."""
        config = self.config
        return SpecialistManifest(
            name=config.name, network=config.network, plan=self.plan, modality=config.modality, dataset=config.dataset,
            target=config.target, epochs=progress.step // self.steps_per_epoch, steps=progress.step,
            seconds=round(progress.seconds, 1), seed=config.seed, images=self.source.pictures,
            data_sha256=self.source.identity(), licence=config.licence,
        )  # fmt: skip


def train_specialist(
    config: SpecialistConfig, folder: Path, *, resume: bool = False, device: str | None = None,
    progress: StepProgress | None = None,
) -> RunOutcome:  # fmt: skip
    """Train a specialist, or go on where a run was stopped or killed.

    Args:
        config: Every number of the run.
        folder: Of the run; new or empty, unless resumed.
        resume: Go on from the last whole checkpoint; without one from the start.
        device: As choose_device.
        progress: Told of every step.

    Raises:
        DataError: the folder has a run already, or one of another configuration or other data; nothing to learn from.
        OutputError: the disk has no room, or refused later; earlier checkpoints are whole.
        NotFiniteError: ten losses in a row were not finite.
    """
    begun = (folder / RECORD).is_file()
    if begun and not resume:
        raise explain_taken(folder)
    with ExitStack() as held:
        if begun:
            held.enter_context(hold_folder(folder))
            changed = compare_configs(load_specialist_config(folder / RECORD), config)
            changed.pop("save_every", None)
            refuse_changes(folder, changed, "pass the flags it was started with, or start a new run with -o")
            sweep(folder)
        run = _build(config, folder, device)
        check_room([Need(folder, _bytes(run), "the checkpoints and weights of this run")])
        if not begun:
            with refuse_disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(hold_folder(folder))
        data = {"train": run.source.identity()}
        refuse_other_data(folder, data)
        write_record(folder, data, RECORD, config.to_json())
        outcome = _run_steps(run, _resume(run) if begun else RunPosition(), progress)
        if outcome.finished:
            _finish(run, outcome.progress)
    return outcome


def _build(config: SpecialistConfig, folder: Path, device: str | None) -> SpecialistRun:
    place = choose_device(device)
    source = open_samples(config)
    plan = plan_network(config, source)
    network = start_network(config, plan).to(place).train()
    optimizer = make_specialist_optimizer(network, config.network)
    return SpecialistRun(config, folder, source, plan, network, optimizer, place)


def _bytes(run: SpecialistRun) -> int:
    weights: int = sum(tensor.numel() * tensor.element_size() for tensor in run.network.state_dict().values())
    moments = weights if run.config.network == "unet" else 2 * weights
    return (KEPT + 1) * (weights + moments) + weights


def _resume(run: SpecialistRun) -> RunPosition:
    folder, progress = find_latest(run.folder)
    if folder is not None:
        run.network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
        kept = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        run.optimizer.load_state_dict(kept)
    return progress


def _save(run: SpecialistRun, progress: RunPosition) -> None:
    def fill(folder: Path) -> None:
        tensors = {name: one.detach().cpu().contiguous() for name, one in run.network.state_dict().items()}
        save_file(tensors, folder / WEIGHTS)
        torch.save(run.optimizer.state_dict(), folder / OPTIMIZER)

    write_checkpoint(run.folder, progress, fill)


def _run_steps(run: SpecialistRun, progress: RunPosition, show: StepProgress | None) -> RunOutcome:
    config, total = run.config, run.total
    batches = BoxBatches(run.source, config, run.describe(progress).box_input, run.plan.batch_size)
    began = time.monotonic() - progress.seconds
    steps = range(progress.step, total)
    monitor = Monitor(run.folder, total=total, step=progress.step, speaks=True, progress=show)
    with catch_stop_signals() as asked:
        for step, (input_B4hw, mask_B1hw) in zip(steps, batches.load(steps), strict=False):
            rate = compute_specialist_rate(config.network, step // run.steps_per_epoch, config.epochs)
            loss = _take_step(run, step, input_B4hw.to(run.device), mask_B1hw.to(run.device), rate=rate)
            bad = not math.isfinite(loss)
            progress = replace(
                progress, step=step + 1, skipped=progress.skipped + bad,
                skipped_in_row=progress.skipped_in_row + 1 if bad else 0, seconds=time.monotonic() - began,
            )  # fmt: skip
            epoch = round((step + 1) / run.steps_per_epoch, 4)
            monitor.write({"step": step + 1, "epoch": epoch, "loss": loss, "learning_rate": rate})
            monitor.show(step + 1, f"loss {loss:.4f}")
            if asked.is_set() or progress.step == total or progress.step % config.save_every == 0:
                _save(run, progress)
            if progress.skipped_in_row == BAD_STEPS:
                raise NotFiniteError(
                    f"the loss was not finite in {BAD_STEPS} steps in a row, the last at step {step + 1}",
                    expected="a finite loss",
                    fix="check the data, and start a new run with -o",
                )
            if asked.is_set():
                return RunOutcome(progress, total, finished=progress.step == total)
    return RunOutcome(progress, total, finished=True)


def _take_step(
    run: SpecialistRun, step: int, input_B4hw: torch.Tensor, mask_B1hw: torch.Tensor, *, rate: float
) -> float:
    """Learn from a batch and give its loss; a loss that is not finite teaches nothing."""
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(run.config.seed * 1_000_003 + step)  # of dropout: the step alone decides it
    run.optimizer.zero_grad(set_to_none=True)
    loss = compute_specialist_loss(run.network, input_B4hw, mask_B1hw)
    value = float(loss.detach())
    if math.isfinite(value):
        torch.autograd.backward(loss)
        if run.config.network == "unet":
            nn.utils.clip_grad_norm_(run.network.parameters(), LARGEST_NORM)
        run.optimizer.step()
    return value


def _finish(run: SpecialistRun, progress: RunPosition) -> None:
    """Write the last weights as the result, with their card."""
    written = save_specialist(run.network, run.describe(progress), run.folder / MODEL)
    write_text(run.folder / SUMS, f"{written.sha256}  {MODEL}\n")
    write_specialist_card(run.folder, run.config, written, run.source, progress)
