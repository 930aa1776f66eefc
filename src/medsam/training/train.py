"""A training run by a recipe: its data, the model it starts from, a student where it asks for one, and the loop."""

from __future__ import annotations

from pathlib import Path

from medsam.inference.predictor import load_predictor
from medsam.progress import StepProgress
from medsam.training.config import TrainConfig
from medsam.training.learner.base_model import load_base, new_manifest
from medsam.training.learner.distillation import calibrate_batch_norms, new_student
from medsam.training.run.loop import fit
from medsam.training.run.state import RunOutcome
from medsam.training.samples.dataset import Draws
from medsam.training.samples.recipe_data import open_recipe_data


def train_by_recipe(
    config: TrainConfig, folder: Path, *, resume: bool = False, device: str | None = None,
    progress: StepProgress | None = None,
) -> RunOutcome:  # fmt: skip
    """Train a model by a recipe, or go on where the run was stopped.

    Args:
        config: The recipe.
        folder: Of the run; new or empty, unless resumed.
        resume: Go on from the last whole checkpoint.
        device: As choose_device.
        progress: As fit.

    Raises:
        MedsamError: the data, the base or the folder are not as the recipe needs them; see fit.
    """
    learn = open_recipe_data(config, config.train_split)
    tune = open_recipe_data(config, config.tune_split) if config.tune_split else None
    model, base = load_base(config)
    manifest = new_manifest(base, config)
    teacher = None
    if config.student:
        teacher = load_predictor(config.base, device=device)
        model, manifest = new_student(model, base, manifest, config)
        calibrate_batch_norms(model, Draws(learn, manifest, config))
    return fit(
        config,
        folder,
        model,
        manifest,
        learn,
        tune=tune,
        teacher=teacher,
        resume=resume,
        device=device,
        progress=progress,
    )
