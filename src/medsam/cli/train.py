"""`medsam train`: train a model by a recipe, on one process or on those torchrun starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from medsam.cli.flags import Device, Output, Switch, ThisTerminal

STOPPED = 143  # the shell's code for SIGTERM


def train(
    *,
    config: Annotated[Path | None, Parameter(name=["--config", "-c"])] = None,
    output: Output,
    resume: Switch = False,
    device: Device = None,
    terminal: ThisTerminal,
) -> int:
    """Train a model by a recipe; the paper's protocol is the default of every number.

    Args:
        config: Recipe in TOML (docs/training.md); a run that goes on knows its own.
        output: Folder of the run: checkpoints, metrics.jsonl, model.safetensors, model card.
        resume: Go on from the last checkpoint of the run in that folder.
    """
    from medsam.errors import DataError
    from medsam.training.config import load_config, read_config
    from medsam.training.run.folder import CONFIG, MODEL
    from medsam.training.train import train_by_recipe

    if config is None and not resume:
        raise DataError("no recipe", expected="--config RECIPE.toml, or --resume", fix="see recipes/ for examples")
    chosen = load_config(output / CONFIG) if config is None else read_config(config)
    with terminal.progress("train") as progress:
        outcome = train_by_recipe(chosen, output, resume=resume, device=device, progress=progress)
    step = outcome.progress.step
    answer = {"finished": outcome.finished, "step": step, "steps": outcome.total, "output": str(output)}
    stopped = f"stopped at step {step} of {outcome.total}; go on with --resume -o {output}"
    terminal.report(answer, f"{output / MODEL}: {step} steps" if outcome.finished else stopped)
    return 0 if outcome.finished else STOPPED
