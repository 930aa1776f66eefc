"""The weights a run starts from, and the manifest of what will come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medsam.errors import ModelUnavailableError
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.resize import resize_model
from medsam.models.weights.catalog import CATALOG, resolve
from medsam.models.weights.checkpoint import load_checkpoint
from medsam.models.weights.manifest import Manifest
from medsam.training.config import TrainConfig


def load_base(config: TrainConfig) -> tuple[MedSAM, Manifest]:
    """Load the weights a run starts from, in the frame it asks for; the manifest is theirs.

    Raises:
        ModelUnavailableError: no such model, or its weights are not here.
        CheckpointError: a file that is no model.
    """
    path, manifest = resolve(Path(config.base) if Path(config.base).is_file() else config.base)
    model, bound = load_checkpoint(path, manifest)
    if config.frame_size in (0, bound.frame_size):
        return model, bound
    changed = replace(bound, frame_size=config.frame_size, sha256=None)
    return resize_model(model, bound.architecture, config.frame_size), changed


def new_manifest(base: Manifest, config: TrainConfig) -> Manifest:
    """What the trained weights will want as input, and what their output means.

    Args:
        base: Of the weights the run starts from.
        config: Whether another model's pre-processing is asked for, and what is trained.

    Raises:
        ModelUnavailableError: `like` is no catalog name, or its frame is of another size.
    """
    like = base
    if config.like:
        if config.like not in CATALOG:
            raise ModelUnavailableError(
                f"like is {config.like!r}", expected=f"one of {', '.join(CATALOG)}", fix="correct the recipe"
            )
        like = CATALOG[config.like].manifest
        like = replace(like, frame_size=config.frame_size or like.frame_size)
    if like.frame_size != base.frame_size:
        raise ModelUnavailableError(
            f"like = {config.like!r} has a frame of {like.frame_size} pixels",
            expected=f"{base.frame_size}, as {base.name} has",
            fix='set like = "" to keep the pre-processing of the base',
        )
    return replace(
        like,
        name=config.name,
        architecture=base.architecture,
        prompts=config.learnt_prompts,
        multimask=False,
        quality_trained=config.quality_weight > 0,
        sha256=None,
        licence=config.licence or _inherited(base),
    )


def _inherited(base: Manifest) -> str | None:
    """Whoever trains on says under which licence; what binds the base binds what comes of it until then."""
    return None if base.licence is None else f"not stated; trained from {base.name}, which has: {base.licence}"
