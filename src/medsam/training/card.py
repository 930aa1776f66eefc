"""The model card of a run: where the weights come from, what they learnt on, what they score, what they are not for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from medsam.io.atomic import replacing
from medsam.models.manifest import Manifest
from medsam.training.checkpoint_run import Progress
from medsam.training.config import TrainConfig, config_of, differences
from medsam.training.monitor import read_metrics
from medsam.training.sources import Source

CARD = "README.md"


def write_card(folder: Path, config: TrainConfig, manifest: Manifest, train: Source, progress: Progress) -> None:
    """Write README.md beside the weights.

    Args:
        folder: Of the run.
        config: Of the run.
        manifest: Of the weights as written.
        train: What they learnt on.
        progress: Where the run ended.
    """
    paper = config_of({"data": config.data}, source="the defaults")
    changed = {name: new for name, (_, new) in differences(paper, config).items() if name not in ("name", "data")}
    lines = [
        f"# {manifest.name}",
        "",
        f"Weights of a {manifest.architecture} model for {' and '.join(manifest.prompts)} prompts, trained by "
        f"`medsam train` from {config.base}.",
        "",
        "## Data it learnt on",
        "",
        "| data set | modality | licence | samples |",
        "|---|---|---|---|",
        *_data_rows(train),
        "",
        f"Licence of the weights: {manifest.licence or 'not stated; mind the licences of the data above'}.",
        "",
        "## How",
        "",
        f"{progress.step} steps of {config.global_batch} images, {progress.skipped} skipped for a loss not finite.",
        f"Other than the paper: {', '.join(f'{n} = {v!r}' for n, v in changed.items()) or 'nothing'}.",
        "",
        "## Scores on the tuning split",
        "",
        *_score_rows(folder),
        "",
        "## Limits",
        "",
        "Not a medical device. Scores hold for images and targets like those above; measure on your own before use.",
        "",
        f"`{manifest.to_json()}`",
    ]
    with replacing(folder / CARD) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _data_rows(train: Source) -> list[str]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for number in range(len(train)):
        unit = train.unit(number)
        counts[unit.dataset, unit.modality, unit.licence] += 1
    return [f"| {' | '.join(key)} | {count:,} |" for key, count in sorted(counts.items())]


def _score_rows(folder: Path) -> list[str]:
    """Median Dice by modality before the first step and at the end."""
    measured = [line["tune_dice_by_modality"] for line in read_metrics(folder) if "tune_dice_by_modality" in line]
    first, last = (measured[0], measured[-1]) if measured else (None, None)
    if not isinstance(first, dict) or not isinstance(last, dict):
        return ["Nothing was measured."]
    rows = [f"| {name} | {first.get(name, float('nan')):.4f} | {value:.4f} |" for name, value in last.items()]
    return ["| modality | median Dice before | after |", "|---|---|---|", *rows]
