"""Fine-tuning on a user's cases: see that one batch can be learnt, measure, train, measure again and compare."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from medsam.errors import DataError, OutputError
from medsam.files.atomic import write_json
from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import TorchRuntime, choose_device
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.checkpoint import load_checkpoint
from medsam.models.weights.manifest import Manifest
from medsam.progress import StepProgress
from medsam.training.config import TrainConfig
from medsam.training.finetune.comparison import Comparison, compare_scores, record_comparison
from medsam.training.finetune.one_batch import STEPS, check_learnable
from medsam.training.learner.base_model import load_base, new_manifest
from medsam.training.learner.frozen_features import hash_stem
from medsam.training.run.folder import CONFIG, MODEL
from medsam.training.run.loop import fit
from medsam.training.run.model_card import write_card
from medsam.training.run.state import RunOutcome
from medsam.training.run.validation import measure_source
from medsam.training.samples.dataset import Draws
from medsam.training.samples.sources import SampleSource

CASES = "cases.json"


def finetune(
    config: TrainConfig,
    folder: Path,
    learn: SampleSource,
    kept: SampleSource,
    *,
    cases: Mapping[str, Sequence[str]],
    device: str | None,
    say: Callable[[str], None],
    resume: bool = False,
    progress: StepProgress | None = None,
) -> Comparison | RunOutcome:
    """Check, train and compare; where the training was stopped, say how far it is.

    Args:
        config: Of the run, without a tuning split.
        folder: Of the run.
        learn: What to learn from.
        kept: What to measure on, before and after.
        cases: Names of those learnt from and of those kept aside, for the record and for who goes on.
        device: As choose_device.
        say: Where to tell what happens.
        resume: Go on where the run was stopped.
        progress: As fit.

    Raises:
        DataError: the loss of one batch does not fall, or the run that goes on was begun with other cases.
        OutputError: the folder has files in it.
    """
    _hold_to_cases(folder, cases, resume=resume)
    model, base = load_base(config)
    manifest = new_manifest(base, config)
    where = choose_device(device)
    if not (folder / CONFIG).is_file():
        begun, ended = check_learnable(copy.deepcopy(model), Draws(learn, manifest, config), config, where)
        say(f"one batch can be learnt: loss {begun:.4f} -> {ended:.4f} in {STEPS} steps")
    write_json(folder / CASES, cases)
    before = list(measure_source(_make_predictor(model, manifest, where), kept, config))
    outcome = fit(config, folder, model, manifest, learn, tune=None, resume=resume, device=device, progress=progress)
    if not outcome.finished:
        return outcome
    tuned, written = load_checkpoint(folder / MODEL)
    after = list(measure_source(_make_predictor(tuned, manifest, where), kept, config))
    comparison = compare_scores(*([score for one in part for score in one.scores] for part in (before, after)))
    record_comparison(config, folder, comparison, {0: before, outcome.progress.step: after})
    write_card(folder, config, written, learn, outcome.progress, measured_on="cases kept aside")
    return comparison


def _hold_to_cases(folder: Path, cases: Mapping[str, Sequence[str]], *, resume: bool) -> None:
    """Refuse a folder that has something else, or hold the cases of the run that goes on to those it began with."""
    record = folder / CASES
    if resume and record.is_file():
        if json.loads(record.read_text(encoding="utf-8")) != {key: list(names) for key, names in cases.items()}:
            raise DataError(
                f"the run in {folder} was begun with other cases, or divided otherwise",
                expected=f"those of {record}",
                fix="pass the folders, --held-out, --patient and --seed of the beginning, or start anew with another -o",
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} has files in it", expected="a new folder", fix="choose another -o, or --resume")


def _make_predictor(model: MedSAM, manifest: Manifest, device: torch.device) -> Predictor:
    return Predictor(TorchRuntime(model, device=device), manifest, weights=hash_stem(model))
