"""A model in training measured as it will be served: through a Predictor, in slice pixels, with noisy boxes or clicks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.evaluation.measure import Score, Subject, measure_picture
from medsam.evaluation.pictures import draw_example
from medsam.evaluation.targets import MAX_TARGETS, PromptKind, generator_for, prompt_targets
from medsam.inference.predictor import Predictor
from medsam.training.config import TrainConfig
from medsam.training.learner.frozen_features import Features, FeatureSegmenter
from medsam.training.run.examples import choose_examples, write_examples
from medsam.training.run.monitor import Monitor
from medsam.training.samples.sources import SampleSource

MEASURES: tuple[Literal["dice", "nsd"], ...] = ("dice", "nsd")
PURPOSE = 3  # apart from the other random choices of a run


@dataclass(frozen=True, eq=False)
class MeasuredUnit:
    """One image measured.

    Args:
        scores: Of its targets.
        picture: The image with expert and model, where it is one of those that are drawn.
        place: Of the picture among all of them.
    """

    scores: list[Score]
    picture: NDArray[np.uint8] | None
    place: int


def choose_units(source: SampleSource, config: TrainConfig) -> list[int]:
    """Choose the units that are measured, evenly, and give their numbers."""
    count = min(len(source), config.validation_images)
    numbers: list[int] = np.unique(np.linspace(0, len(source) - 1, count).round().astype(int)).tolist()
    return numbers


def measure_source(
    predictor: Predictor,
    source: SampleSource,
    config: TrainConfig,
    *,
    features: Features | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[MeasuredUnit]:
    """Measure on some units of a source, the same ones with the same prompts every time.

    Where the model learns no boxes, each target gets one click deepest inside.

    Args:
        predictor: Around the model as it is now.
        source: Where from.
        config: How boxes are perturbed, how many images are measured at most, and how many of them are drawn.
        features: What is known already of pictures, where part of the encoder does not change.
        rank: Of this process; it takes every world-th unit.
        world: Processes that share the work.
    """
    segmenter = predictor if features is None else FeatureSegmenter(features, predictor)
    numbers = choose_units(source, config)
    places = {number: place for place, number in enumerate(choose_examples(source, numbers, config.examples))}
    for number in numbers[rank::world]:
        unit, slice_ = source.unit(number), source.read(number)
        rng = generator_for(unit.dataset, unit.name, config.seed, PURPOSE)
        chosen = sorted(rng.permutation(len(slice_.masks))[:MAX_TARGETS].tolist())
        prompt: PromptKind = "box" if "box" in config.prompts else "point"
        targets = prompt_targets({i: slice_.masks[i] for i in chosen}, prompt, config.noise, rng)
        subject = Subject(unit.dataset, unit.modality, unit.name, "", predictor.manifest.name)
        scores, found_NHW = measure_picture(segmenter, slice_.pixels_HW3, targets, subject)
        picture = None
        if number in places:
            caption = f"{unit.dataset}  Dice {np.median([score.dice for score in scores]):.2f}"
            boxes = [] if targets.boxes_N4 is None else targets.boxes_N4.tolist()
            experts = list(targets.masks.values())
            picture = draw_example(slice_.pixels_HW3, experts, list(found_NHW), boxes=boxes, caption=caption)
        yield MeasuredUnit(scores, picture, places.get(number, 0))


def find_medians(
    scores: Sequence[Score], name: Literal["dice", "nsd"], by: Literal["modality", "dataset"]
) -> dict[str, float]:
    """The median of a measure by modality or data set, in order of name."""
    values: dict[str, list[float]] = {}
    for score in scores:
        values.setdefault(getattr(score, by), []).append(getattr(score, name))
    return {group: float(np.median(members)) for group, members in sorted(values.items())}


def count_targets(scores: Sequence[Score], by: Literal["modality", "dataset"]) -> dict[str, int]:
    """Count targets by modality or data set, in order of name."""
    return dict(sorted(Counter(getattr(score, by) for score in scores).items()))


def summarize_scores(step: int, scores: Sequence[Score]) -> tuple[dict[str, object], dict[str, float]]:
    """Sum a measurement up as a line of metrics.jsonl, and of each measure as the mean over modalities of its medians.

    Args:
        step: Steps done.
        scores: Of all targets.
    """
    line: dict[str, object] = {"step": step}
    means: dict[str, float] = {}
    for name in MEASURES:
        of = find_medians(scores, name, "modality")
        means[name] = sum(of.values()) / len(of)
        line |= {f"tune_{name}": means[name], f"tune_{name}_by_modality": of}
        line |= {f"tune_{name}_by_dataset": find_medians(scores, name, "dataset")}
    line |= {f"targets_by_{by}": count_targets(scores, by) for by in ("modality", "dataset")}
    return line, means


def record_measurement(monitor: Monitor, step: int, measured: Sequence[MeasuredUnit]) -> float:
    """Write a measurement into the metrics and its examples into a sheet.

    Args:
        monitor: Of the run.
        step: Steps done.
        measured: Of all processes.

    Returns:
        The mean over modalities of the median Dice, which decides which weights are best.
    """
    line, means = summarize_scores(step, [score for one in measured for score in one.scores])
    monitor.write(line)
    said = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
    monitor.say(f"step {step}: {said} (mean over modalities of the medians on the tuning split)")
    sheet = list_pictures(measured)
    if monitor.speaks and sheet:
        monitor.picture("examples", step, write_examples(monitor.run, step, sheet))
    return means["dice"]


def list_pictures(measured: Sequence[MeasuredUnit]) -> list[NDArray[np.uint8]]:
    """What was drawn, in the order in which it was chosen."""
    return [one.picture for one in sorted(measured, key=lambda one: one.place) if one.picture is not None]
