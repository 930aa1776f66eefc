"""`medsam train`: train a model by a recipe, on one process or on those torchrun starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from medsam.training.config import TrainConfig
    from medsam.training.sources import Source

STOPPED = 143  # the shell's code for SIGTERM


def train(
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: str | None = None,
) -> int:
    """Train a model by a recipe; the paper's protocol is the default of every number.

    Parameters
    ----------
    config
        Recipe in TOML (docs/training.md); a run that goes on knows its own.
    output
        Folder of the run: checkpoints, metrics.jsonl, model.safetensors, model card.
    resume
        Go on from the last checkpoint of the run in that folder.
    device
        cpu, cuda or mps; the best one there without it.
    """
    from medsam.errors import DataError
    from medsam.evaluation.metrics import dice, normalized_surface_distance
    from medsam.inference.predictor import load_predictor
    from medsam.training.base import load_base, new_manifest
    from medsam.training.config import load_config, read_config
    from medsam.training.dataset import Draws
    from medsam.training.distill import calibrate, new_student
    from medsam.training.loop import CONFIG, MODEL, fit

    if config is None and not resume:
        raise DataError("no recipe", expected="--config RECIPE.toml, or --resume", fix="see recipes/ for examples")
    chosen = load_config(output / CONFIG) if config is None else read_config(config)
    learn = open_data(chosen, chosen.train_split)
    tune = open_data(chosen, chosen.tune_split) if chosen.tune_split else None
    model, base = load_base(chosen)
    manifest = new_manifest(base, chosen)
    teacher = None
    if chosen.student:
        teacher = load_predictor(chosen.base, device=device)
        model, manifest = new_student(model, base, manifest, chosen)
        calibrate(model, Draws(learn, manifest, chosen))
    measures = {"dice": dice, "nsd": normalized_surface_distance}
    outcome = fit(
        chosen,
        output,
        model,
        manifest,
        learn,
        tune=tune,
        measures=measures,
        teacher=teacher,
        resume=resume,
        device=device,
    )
    if not outcome.finished:
        print(f"stopped at step {outcome.progress.step} of {outcome.total}; go on with --resume -o {output}")
        return STOPPED
    print(f"{output / MODEL}: {outcome.progress.step} steps")
    return 0


def open_data(config: TrainConfig, split: str) -> Source:
    """One split of all data of a recipe: stores, and folders with an index."""
    from functools import partial

    from medsam.errors import DataError
    from medsam.evaluation.evaluate import Protocol, read_samples, targets_of
    from medsam.training.sources import Mixed, PictureSource, StoreSource

    sources: list[Source] = []
    for name in config.data:
        path = Path(name)
        by_picture = config.prompts_per_image > 1
        above = next((folder for folder in path.parents if (folder / "store.json").is_file()), None)
        if path.suffix == ".parquet" and path.is_file() and above is not None:
            sources.append(StoreSource(above, split, by_picture=by_picture, subset=path))
        elif (path / "store.json").is_file():
            sources.append(StoreSource(path, split, by_picture=by_picture))
        elif (path / "index.csv").is_file():
            sources.append(PictureSource(read_samples(path, split), partial(targets_of, protocol=Protocol())))
        else:
            raise DataError(
                f"{path} is no data to learn from",
                expected="a store made by medsam curate, a list in it made by medsam subset, or a folder with index.csv",
                fix="correct data in the recipe; paths are relative to where the command runs",
            )
    return sources[0] if len(sources) == 1 else Mixed(sources)
