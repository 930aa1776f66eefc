"""`medsam finetune`: adapt a model to a user's own cases, and say on cases held out whether it helped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from medsam.cli.train import STOPPED

if TYPE_CHECKING:
    from medsam.training.finetuning import Comparison

HELD_OUT = 0.2
SAVE_EVERY = 50  # steps, seconds each on a CPU
MOST_CASES = 12  # in the table


def finetune(
    images: Path,
    masks: Path,
    /,
    *,
    base: str = "lite-medsam",
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    modality: str | None = None,
    window: str | None = None,
    encoder: Literal["frozen", "lora", "full"] = "frozen",
    epochs: int = 20,
    learning_rate: float = 1e-4,
    batch: int = 8,
    held_out: float = HELD_OUT,
    patient: str = "",
    quality: Annotated[bool, Parameter(negative=())] = False,
    seed: int = 0,
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: str | None = None,
) -> int:
    """Fine-tune a model on your own images and masks, and compare before and after on cases kept aside.

    Parameters
    ----------
    images
        Folder of images, 2D or 3D.
    masks
        Folder of label maps with the names of their images.
    base
        Catalog name or weights file to start from.
    output
        Folder of the run, new; model.safetensors in it loads with --model.
    modality
        Of the images, where the files do not say.
    window
        Of CT, as for medsam segment.
    encoder
        "frozen" trains the mask decoder on embeddings made once; "lora" and "full" train the encoder as well.
    epochs
        Times every slice is seen.
    learning_rate
        Of AdamW.
    batch
        Images of one step.
    held_out
        Share of the patients whose cases are only measured.
    patient
        Regular expression that finds the patient in a file's name, as '^[^_]+'; without it every file is a patient.
    quality
        Train the quality score too.
    seed
        Of everything random.
    resume
        Go on where the run in the folder was stopped; everything else as it was.
    device
        cpu, cuda or mps; the best one there without it.
    """
    from functools import partial

    from medsam.evaluation.evaluate import Protocol, targets_of
    from medsam.evaluation.metrics import dice, normalized_surface_distance
    from medsam.training.config import config_of
    from medsam.training.finetuning import finetune as run
    from medsam.training.finetuning import paired, split, unpaired
    from medsam.training.loop import Outcome
    from medsam.training.sources import CaseSource

    config = config_of(
        {
            "name": output.name, "data": str(images), "tune_split": "", "base": base, "like": "", "encoder": encoder,
            "epochs": epochs, "learning_rate": learning_rate, "global_batch": batch, "micro_batch": min(batch, 4),
            "schedule": "cosine", "prompts_per_image": 8, "quality_weight": 1.0 if quality else 0.0,
            "cache_embeddings": encoder == "frozen", "workers": 0, "seed": seed,
            "save_every": SAVE_EVERY,
        },
        source="the command",
    )  # fmt: skip
    cases, cases_kept = split(paired(images, masks, patient), held_out, seed)
    for reason in unpaired(images, masks):
        print(f"medsam: left out: {reason}", file=sys.stderr)
    divide = partial(targets_of, protocol=Protocol())
    learn, kept = (CaseSource(part, divide, modality=modality, window=window) for part in (cases, cases_kept))
    found = run(
        config,
        output,
        learn,
        kept,
        cases={"learnt": [case.name for case in cases], "kept_aside": [case.name for case in cases_kept]},
        measures={"dice": dice, "nsd": normalized_surface_distance},
        device=device,
        say=print,
        resume=resume,
    )
    if isinstance(found, Outcome):
        print(f"stopped at step {found.progress.step} of {found.total}; go on with the same command and --resume")
        return STOPPED
    _table(found, output)
    return 0


def _table(comparison: Comparison, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from medsam.training.loop import MODEL

    table = Table(f"held-out target ({comparison.targets})", box=None)
    for heading in ("before", "after", "change"):
        table.add_column(heading, justify="right")
    few = len(comparison.cases) <= MOST_CASES
    cases = [(f"case {name}: median dice", old, new) for name, old, new in comparison.cases] if few else []
    for name, before, after in [*comparison.rows, *cases]:
        table.add_row(name, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}")
    Console().print(table)
    same = comparison.targets - comparison.better - comparison.worse
    print(f"Dice rose for {comparison.better} targets, fell for {comparison.worse}, stayed for {same}")
    if comparison.worse > comparison.better:
        print(
            "more targets got worse than better: keep the base, or try more cases, fewer --epochs or a lower --learning-rate"
        )
    print(f"{output / MODEL}")
