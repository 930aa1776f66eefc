"""`medsam finetune`: adapt a model to a user's own cases, and say on cases held out whether it helped."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medsam.cli.flags import Device, IntensityFlags, Output, Switch, ThisTerminal
from medsam.cli.train import STOPPED
from medsam.jobs.options import IntensityOptions

if TYPE_CHECKING:
    from medsam.training.finetune.comparison import Comparison

HELD_OUT = 0.2
SAVE_EVERY = 50  # steps, seconds each on a CPU
MOST_CASES = 12  # in the table


def finetune(
    images: Path,
    masks: Path,
    /,
    *,
    base: str = "lite-medsam",
    output: Output,
    encoder: Literal["frozen", "lora", "full"] = "frozen",
    epochs: int = 20,
    learning_rate: float = 1e-4,
    batch: int = 8,
    held_out: float = HELD_OUT,
    patient: str = "",
    quality: Switch = False,
    seed: int = 0,
    resume: Switch = False,
    device: Device = None,
    intensity: IntensityFlags = IntensityOptions(),
    terminal: ThisTerminal,
) -> int:
    """Fine-tune a model on your own images and masks, and compare before and after on cases kept aside.

    Args:
        images: Folder of images, 2D or 3D.
        masks: Folder of label maps with the names of their images.
        base: Catalog name or weights file to start from.
        output: Folder of the run, new; model.safetensors in it loads with --model.
        encoder: "frozen" trains the mask decoder on embeddings made once; "lora" and "full" train the encoder as well.
        epochs: Times every slice is seen.
        learning_rate: Of AdamW.
        batch: Images of one step.
        held_out: Share of the patients whose cases are only measured.
        patient: Regular expression that finds the patient in a file's name, as '^[^_]+'; without it every file is a patient.
        quality: Train the quality score too.
        seed: Of everything random.
        resume: Go on where the run in the folder was stopped; everything else as it was.
    """
    from medsam.io.pairs import list_unpaired
    from medsam.training.config import make_config
    from medsam.training.finetune.cases import pair_cases, split_cases
    from medsam.training.finetune.finetune import finetune as run
    from medsam.training.run.state import RunOutcome
    from medsam.training.samples.sources import CaseSource

    config = make_config(
        {
            "name": output.name, "data": str(images), "tune_split": "", "base": base, "like": "", "encoder": encoder,
            "epochs": epochs, "learning_rate": learning_rate, "global_batch": batch, "micro_batch": min(batch, 4),
            "schedule": "cosine", "prompts_per_image": 8, "quality_weight": 1.0 if quality else 0.0,
            "cache_embeddings": encoder == "frozen", "workers": 0, "seed": seed,
            "save_every": SAVE_EVERY,
        },
        source="the command",
    )  # fmt: skip
    cases, cases_kept = split_cases(pair_cases(images, masks, patient), held_out, seed)
    for reason in list_unpaired(images, masks):
        terminal.note(f"medsam: left out: {reason}")
    learn, kept = (
        CaseSource(part, modality=intensity.modality, window=intensity.window) for part in (cases, cases_kept)
    )
    names = {"learnt": [case.name for case in cases], "kept_aside": [case.name for case in cases_kept]}
    say = terminal.note if terminal.json or terminal.quiet else print
    with terminal.progress("train") as progress:
        found = run(
            config, output, learn, kept, cases=names, device=device, say=say, resume=resume, progress=progress
        )  # fmt: skip
    if isinstance(found, RunOutcome):
        step = found.progress.step
        line = f"stopped at step {step} of {found.total}; go on with the same command and --resume"
        terminal.report({"finished": False, "step": step}, line)
        return STOPPED
    terminal.answer({"finished": True, "output": str(output), **asdict(found)}, lambda: _table(found, output))
    return 0


def _table(comparison: Comparison, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from medsam.training.run.folder import MODEL

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
