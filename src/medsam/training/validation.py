"""A model in training measured as it will be served: through a Predictor, in slice pixels, with noisy boxes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam.inference.predictor import Predictor
from medsam.training.config import TrainConfig
from medsam.training.dataset import simulated_boxes
from medsam.training.features import Features
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


def measure(
    predictor: Predictor,
    source: Source,
    config: TrainConfig,
    measures: Mapping[str, Measure],
    *,
    features: Features | None = None,
    rank: int = 0,
    world: int = 1,
) -> Iterator[list[Score]]:
    """Measure on some units of a source, the same ones with the same boxes every time.

    Args:
        predictor: Around the model as it is now.
        source: Where from.
        config: How boxes are perturbed, and how many images at most.
        measures: By name.
        features: What is known already of pictures, where part of the encoder does not change.
        rank: Of this process; it takes every world-th unit.
        world: Processes that share the work.

    Yields:
        The scores of one image.
    """
    count = min(len(source), config.validation_images)
    numbers = np.unique(np.linspace(0, len(source) - 1, count).round().astype(int)).tolist()
    for number in numbers[rank::world]:
        unit, slice_ = source.unit(number), source.read(number)
        rng = np.random.default_rng([config.seed, 3, zlib.crc32(f"{unit.dataset}/{unit.name}".encode())])
        chosen = sorted(rng.permutation(len(slice_.masks))[:TARGETS].tolist())
        boxes_N4 = simulated_boxes([slice_.masks[i] for i in chosen], config, rng)
        pixels = slice_.pixels_HW3
        embedding = predictor.embed(pixels) if features is None else features.embedding(pixels, predictor)
        found_NHW, _ = predictor.decode(embedding, boxes=boxes_N4)
        yield [
            Score(
                unit.name,
                unit.dataset,
                unit.modality,
                i,
                {name: function(found, slice_.masks[i]) for name, function in measures.items()},
            )
            for i, found in zip(chosen, found_NHW, strict=True)
        ]


def medians(scores: list[Score], name: str) -> dict[str, float]:
    """The median of a measure by modality, modalities in order of name."""
    by: dict[str, list[float]] = {}
    for score in scores:
        by.setdefault(score.modality, []).append(score.scores[name])
    return {modality: float(np.median(values)) for modality, values in sorted(by.items())}
