"""The model card of a specialist: what it learnt on, for how long, and what it is not for."""

from __future__ import annotations

from pathlib import Path

from medsam.baselines.specialist import SpecialistManifest
from medsam.files.atomic import write_text
from medsam.training.run.model_card import CARD, tabulate_data
from medsam.training.run.sealed import RunPosition
from medsam.training.samples.sources import SampleSource
from medsam.training.specialist.config import SpecialistConfig
from medsam.training.specialist.learner import PAPER

NAMES = {"unet": "U-Net of nnU-Net's 2D plan", "deeplabv3plus": "DeepLabV3+ with a ResNet-50"}


def write_specialist_card(
    folder: Path, config: SpecialistConfig, manifest: SpecialistManifest, source: SampleSource, progress: RunPosition
) -> None:
    """Write README.md beside the weights.

    Args:
        folder: Of the run.
        config: Of the run.
        manifest: Of the weights as written.
        source: What they learnt on.
        progress: Where the run ended.
    """
    paper, plan = PAPER[config.network], manifest.plan
    start = "the ResNet-50 of a file" if config.encoder else "random weights"
    lines = [
        f"# {manifest.name}",
        "",
        f"A {NAMES[config.network]} that takes a picture and a box, trained from {start}. A comparator of the paper; it answers "
        "boxes alone.",
        "",
        "```",
        "medsam evaluate FOLDER --model model.safetensors -o scores/",
        "```",
        "",
        "## Data it learnt on",
        "",
        "| data set | modality | licence of the data | samples |",
        "|---|---|---|---|",
        *tabulate_data(source),
        "",
        f"Licence of the weights: {manifest.licence or 'not stated. Mind the licences of the data above'}.",
        "",
        "## How",
        "",
        f"{progress.step} steps of {plan.batch_size} pictures of {plan.patch_HW[0]} x {plan.patch_HW[1]} pixels in "
        f"{progress.seconds:.0f} seconds, {progress.skipped} skipped for a loss not finite.",
        "",
        "| setting | paper | here |",
        "|---|---|---|",
        f"| epochs | {paper.epochs} | {config.epochs} |",
        f"| augmentation | {'nnU-Net' if config.network == 'unet' else 'none stated'} | {config.augmentation} |",
        f"| box noise, px of 1024 | 20 | {config.box_noise_px:g} ({config.box_noise}) |",
        "",
        "## Limits",
        "",
        "- Not a medical device: look at every mask.",
        "- No score was measured during training; measure on pictures it has not seen.",
        "- Pictures are stretched to the network's input; nnU-Net itself cuts patches at their own resolution.",
        "",
        f"`{manifest.to_json()}`",
    ]
    write_text(folder / CARD, "\n".join(lines) + "\n")
