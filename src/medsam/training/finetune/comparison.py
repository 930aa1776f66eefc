"""A model before and after fine-tuning, compared on the same targets with the same prompts, and kept with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from medsam.evaluation.measure import Score
from medsam.files.atomic import replacing, write_json
from medsam.training.config import TrainConfig
from medsam.training.run.examples import write_examples
from medsam.training.run.folder import CURVE
from medsam.training.run.monitor import METRICS, draw_curves, read_metrics
from medsam.training.run.validation import MEASURES, MeasuredUnit, list_pictures, summarize_scores
from medsam.training.samples.sources import find_case_name

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """A model before and after, on the same targets with the same boxes.

    Args:
        targets: How many.
        better: How many of them have a higher Dice after.
        worse: How many a lower one.
        rows: What is compared; before; after.
        cases: Name of a case, its median Dice before and after.
    """

    targets: int
    better: int
    worse: int
    rows: tuple[tuple[str, float, float], ...]
    cases: tuple[tuple[str, float, float], ...]


def compare_scores(before: Sequence[Score], after: Sequence[Score]) -> Comparison:
    """Compare medians and means of each measure over the same targets, and the median Dice of each case.

    Args:
        before: Scores of the targets, in some order.
        after: Scores of the same targets in the same order.
    """
    rows = []
    for name in MEASURES:
        old, new = ([getattr(score, name) for score in part] for part in (before, after))
        rows.append((f"median {name}", float(np.median(old)), float(np.median(new))))
        rows.append((f"mean {name}", float(np.mean(old)), float(np.mean(new))))
    cases: dict[str, list[tuple[float, float]]] = {}
    for first, last in zip(before, after, strict=True):
        cases.setdefault(find_case_name(first.sample), []).append((first.dice, last.dice))
    pairs = [pair for members in cases.values() for pair in members]
    medians = {name: np.median(members, axis=0).tolist() for name, members in sorted(cases.items())}
    return Comparison(
        targets=len(pairs),
        better=sum(last > first for first, last in pairs),
        worse=sum(last < first for first, last in pairs),
        rows=tuple(rows),
        cases=tuple((name, first, last) for name, (first, last) in medians.items()),
    )


def record_comparison(
    config: TrainConfig, folder: Path, comparison: Comparison, measured: Mapping[int, Sequence[MeasuredUnit]]
) -> None:
    """Write a comparison, and what was measured as a run with a tuning split does: metrics, sheets, curves.

    Args:
        config: Of the run.
        folder: Of the run.
        comparison: Of before and after.
        measured: The units by the steps that were done.

    Raises:
        OutputError: the disk refused.
    """
    write_json(folder / COMPARISON, asdict(comparison))
    lines = [summarize_scores(step, [s for one in part for s in one.scores])[0] for step, part in measured.items()]
    with replacing(folder / METRICS) as temporary:
        steps = [line for line in read_metrics(folder) if "loss" in line]
        every = sorted([*steps, *lines], key=lambda line: int(str(line["step"])))
        temporary.write_text("".join(json.dumps(line) + "\n" for line in every), encoding="utf-8")
    for step, part in measured.items():
        write_examples(folder, step, list_pictures(part))
    draw_curves({config.name: folder}, folder / CURVE)
