"""A model in training measured as it will be served: through a Predictor, in slice pixels, with noisy boxes or clicks."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.imaging.clicks import innermost_point
from medsam.inference.embedding import Embedding
from medsam.inference.predictor import Predictor
from medsam.training.config import TrainConfig
from medsam.training.dataset import simulated_boxes
from medsam.training.examples import chosen_examples, draw_example, write_examples
from medsam.training.features import Features
from medsam.training.monitor import Monitor
from medsam.training.sources import Source

TARGETS = 20  # most of one image, as medsam evaluate
# mask found and expert mask, both (H, W) bool -> a score in [0, 1]
Measure = Callable[[NDArray[np.bool_], NDArray[np.bool_]], float]


@dataclass(frozen=True)
class Score:
    """One target measured."""

    sample: str
    dataset: str
    modality: str
    target: int
    scores: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Measured:
    """One image measured.

    Args:
        scores: Of its targets.
        picture: The image with expert and model, where it is one of those that are drawn.
        place: Of the picture among all of them.
    """

    scores: list[Score]
    picture: NDArray[np.uint8] | None
    place: int


def measured_units(source: Source, config: TrainConfig) -> list[int]:
    """Numbers of the units that are measured, evenly chosen."""
    count = min(len(source), config.validation_images)
    numbers: list[int] = np.unique(np.linspace(0, len(source) - 1, count).round().astype(int)).tolist()
    return numbers


def measure(
    predictor: Predictor,
    source: Source,
    config: TrainConfig,
    measures: Mapping[str, Measure],
    *,
    features: Features | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Measured]:
    """Measure on some units of a source, the same ones with the same boxes every time.

    Args:
        predictor: Around the model as it is now.
        source: Where from.
        config: How boxes are perturbed, how many images are measured at most, and how many of them are drawn.
        measures: By name, "dice" among them.
        features: What is known already of pictures, where part of the encoder does not change.
        rank: Of this process; it takes every world-th unit.
        world: Processes that share the work.
    """
    numbers = measured_units(source, config)
    places = {number: place for place, number in enumerate(chosen_examples(source, numbers, config.examples))}
    for number in numbers[rank::world]:
        unit, slice_ = source.unit(number), source.read(number)
        rng = np.random.default_rng([config.seed, 3, zlib.crc32(f"{unit.dataset}/{unit.name}".encode())])
        chosen = sorted(rng.permutation(len(slice_.masks))[:TARGETS].tolist())
        experts = [slice_.masks[i] for i in chosen]
        pixels = slice_.pixels_HW3
        embedding = predictor.embed(pixels) if features is None else features.embedding(pixels, predictor)
        found_NHW, boxes = _found(predictor, embedding, experts, config, rng)
        scores = [
            Score(
                unit.name,
                unit.dataset,
                unit.modality,
                i,
                {name: function(found, expert) for name, function in measures.items()},
            )
            for i, found, expert in zip(chosen, found_NHW, experts, strict=True)
        ]
        picture = None
        if number in places:
            caption = f"{unit.dataset}  Dice {np.median([one.scores['dice'] for one in scores]):.2f}"
            picture = draw_example(pixels, experts, list(found_NHW), boxes=boxes, caption=caption)
        yield Measured(scores, picture, places.get(number, 0))


def _found(
    predictor: Predictor,
    embedding: Embedding,
    experts: Sequence[NDArray[np.bool_]],
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.bool_], list[list[float]]]:
    """The answers to noisy boxes, and these; where the model learns no boxes, to one click deepest inside."""
    if "box" in config.prompts:
        boxes_N4 = simulated_boxes(experts, config, rng)
        return predictor.decode(embedding, boxes=boxes_N4)[0], boxes_N4.tolist()
    points = [[innermost_point(mask)] for mask in experts]
    return predictor.decode(embedding, points=points, point_labels=[[1]] * len(points))[0], []


def medians(scores: list[Score], name: str, by: Literal["modality", "dataset"]) -> dict[str, float]:
    """The median of a measure by modality or data set, in order of name."""
    values: dict[str, list[float]] = {}
    for score in scores:
        values.setdefault(getattr(score, by), []).append(score.scores[name])
    return {group: float(np.median(members)) for group, members in sorted(values.items())}


def counted(scores: list[Score], by: Literal["modality", "dataset"]) -> dict[str, int]:
    """Targets by modality or data set, in order of name."""
    return dict(sorted(Counter(getattr(score, by) for score in scores).items()))


def summarised(step: int, scores: list[Score], names: Sequence[str]) -> tuple[dict[str, object], dict[str, float]]:
    """A measurement as a line of metrics.jsonl, and of each measure the mean over modalities of its medians.

    Args:
        step: Steps done.
        scores: Of all targets.
        names: Of the measures.
    """
    line: dict[str, object] = {"step": step}
    means = {}
    for name in names:
        of = medians(scores, name, "modality")
        means[name] = sum(of.values()) / len(of)
        line |= {f"tune_{name}": means[name], f"tune_{name}_by_modality": of}
        line |= {f"tune_{name}_by_dataset": medians(scores, name, "dataset")}
    line |= {"targets_by_modality": counted(scores, "modality"), "targets_by_dataset": counted(scores, "dataset")}
    return line, means


def note(monitor: Monitor, step: int, measured: Sequence[Measured], names: Sequence[str]) -> float:
    """Write a measurement into the metrics and its examples into a sheet.

    Args:
        monitor: Of the run.
        step: Steps done.
        measured: Of all processes.
        names: Of the measures; Dice decides which weights are best.

    Returns:
        The mean over modalities of the median Dice.
    """
    line, means = summarised(step, [score for one in measured for score in one.scores], names)
    monitor.write(line)
    said = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
    monitor.say(f"step {step}: {said} (mean over modalities of the medians on the tuning split)")
    sheet = pictures_of(measured)
    if monitor.speaks and sheet:
        monitor.picture("examples", step, write_examples(monitor.run, step, sheet))
    return means["dice"]


def pictures_of(measured: Sequence[Measured]) -> list[NDArray[np.uint8]]:
    """What was drawn, in the order in which it was chosen."""
    return [one.picture for one in sorted(measured, key=lambda one: one.place) if one.picture is not None]
