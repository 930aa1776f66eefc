"""The model card of a run: where the weights come from, what they learnt on, what they score, what they are not for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from medsam.files.atomic import write_text
from medsam.models.weights.manifest import Manifest
from medsam.training.config import FREE_ON_RESUME, TrainConfig, compare_configs, make_config
from medsam.training.run.monitor import read_metrics
from medsam.training.run.sealed import RunPosition
from medsam.training.samples.sources import SampleSource

CARD = "README.md"
# Names, places and what only decides how a run is carried out or watched: no difference from the paper.
NO_DIFFERENCE = FREE_ON_RESUME | {
    "name", "data", "licence", "train_split", "tune_split", "seed", "micro_batch", "cache_embeddings",
    "checkpoint_activations", "compile", "validate_every", "validation_images",
}  # fmt: skip
FEW_TARGETS = 20  # a median of fewer says little


def write_card(
    folder: Path,
    config: TrainConfig,
    manifest: Manifest,
    train: SampleSource,
    progress: RunPosition,
    *,
    measured_on: str = "the tuning split",
) -> None:
    """Write README.md beside the weights.

    Args:
        folder: Of the run; its metrics.jsonl has the scores.
        config: Of the run.
        manifest: Of the weights as written.
        train: What they learnt on.
        progress: Where the run ended.
        measured_on: What the scores are of.
    """
    before, after = _measured(folder)
    lines = [
        f"# {manifest.name}",
        "",
        f"Weights of a {manifest.architecture} model for {' and '.join(manifest.prompts)} prompts, trained from "
        f"{config.base}.",
        "",
        "```",
        f"medsam segment IMAGE {_example(manifest)} --model model.safetensors -o mask.png",
        "```",
        "",
        "## Data it learnt on",
        "",
        "| data set | modality | licence of the data | samples |",
        "|---|---|---|---|",
        *tabulate_data(train),
        "",
        f"Licence of the weights: {(manifest.licence or 'not stated').rstrip('.')}.{_mind(config)}",
        "",
        "## How",
        "",
        f"{progress.step} steps of {config.global_batch} images in {progress.seconds / 3600:.2f} hours, "
        f"{progress.skipped} skipped for a loss not finite.",
        "",
        *_difference_rows(config),
        "",
        f"## Scores on {measured_on}",
        "",
        *_score_rows(before, after, config, progress),
        "",
        "## Limits",
        "",
        *[f"- {line}" for line in _limits(before, after, config, manifest)],
        "",
        f"`{manifest.to_json()}`",
    ]
    write_text(folder / CARD, "\n".join(lines) + "\n")


def _example(manifest: Manifest) -> str:
    return "--box X0,Y0,X1,Y1" if "box" in manifest.prompts else "--point X,Y"


def _mind(config: TrainConfig) -> str:
    return "" if config.licence else " Mind the licences of the data above."


def tabulate_data(train: SampleSource) -> list[str]:
    """List the data sets of a source with modality, licence and samples, as rows of Markdown."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for number in range(len(train)):
        unit = train.unit(number)
        counts[unit.dataset, unit.modality, unit.licence] += 1
    return [f"| {' | '.join(key)} | {count:,} |" for key, count in sorted(counts.items())]


def _difference_rows(config: TrainConfig) -> list[str]:
    paper = make_config({"data": config.data}, source="the defaults")
    changed = {name: both for name, both in compare_configs(paper, config).items() if name not in NO_DIFFERENCE}
    if not changed:
        return ["Every setting is the paper's."]
    rows = [f"| {name} | {old!r} | {new!r} |" for name, (old, new) in changed.items()]
    return ["| setting | paper | here |", "|---|---|---|", *rows]


def _measured(folder: Path) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """The first and the last measurement of a run; empty where there was none."""
    lines = [line for line in read_metrics(folder) if "tune_dice_by_modality" in line]
    return (lines[0], lines[-1]) if lines else ({}, {})


def _table(line: Mapping[str, object], name: str) -> Mapping[str, float]:
    found = line.get(name)
    return found if isinstance(found, dict) else {}


def _score_rows(
    before: Mapping[str, object], after: Mapping[str, object], config: TrainConfig, progress: RunPosition
) -> list[str]:
    """Median Dice and NSD by modality and by data set before the first step and at the end."""
    if not after:
        return ["Nothing was measured."]
    names = [name for name in ("dice", "nsd") if f"tune_{name}_by_modality" in after]
    shown = {"dice": "Dice", "nsd": "NSD"}
    box = f"box with its sides moved by up to {config.box_noise_px:g} pixels of 1024 (`{config.box_noise}`)"
    prompt = box if "box" in config.prompts else "click, deepest inside"
    rows = [
        f"Medians over targets, each prompted by one {prompt}; the same prompts before the first step and at step "
        f"{progress.step}. NSD at 2 pixels.",
    ]
    for by in ("modality", "dataset"):
        heads = [f"{shown[name]} {when}" for name in names for when in ("before", "after")]
        rows += ["", f"| {by} | targets | {' | '.join(heads)} |", "|---|" + "---|" * (1 + len(heads))]
        counts = _table(after, f"targets_by_{by}")
        for group in _table(after, f"tune_dice_by_{by}"):
            tables = [_table(line, f"tune_{name}_by_{by}") for name in names for line in (before, after)]
            cells = [f"{table.get(group, float('nan')):.4f}" for table in tables]
            rows.append(f"| {group} | {counts.get(group, 0)} | {' | '.join(cells)} |")
    if progress.best_step and progress.best_step != progress.step:
        rows += [
            "",
            f"best.safetensors: step {progress.best_step}, mean over modalities {progress.best_score:.4f} Dice.",
        ]
    return rows


def _limits(
    before: Mapping[str, object], after: Mapping[str, object], config: TrainConfig, manifest: Manifest
) -> list[str]:
    lines = [
        "Not a medical device: look at every mask.",
        f"Prompts it has learnt: {', '.join(manifest.prompts)}; expect little of others. Scores hold for images, targets "
        "and prompts like those above; measure on your own before use.",
    ]
    if not manifest.quality_trained:
        lines.append("The quality score was not trained.")
    if not after:
        return lines
    if config.tune_split:
        lines.append("The tuning split was watched during training; an independent test needs data of its own.")
    counts = _table(after, "targets_by_modality")
    few = [name for name, count in counts.items() if count < FEW_TARGETS]
    if few:
        lines.append(f"Fewer than {FEW_TARGETS} targets were measured of {', '.join(few)}: their medians say little.")
    for name, shown in (("dice", "Dice"), ("nsd", "NSD")):
        old, new = _table(before, f"tune_{name}_by_dataset"), _table(after, f"tune_{name}_by_dataset")
        fell = [f"{group} ({old[group]:.4f} to {new[group]:.4f})" for group in new if new[group] < old.get(group, 0)]
        if fell:
            lines.append(f"Median {shown} fell for {', '.join(fell)}.")
    return lines
