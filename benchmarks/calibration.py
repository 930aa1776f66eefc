"""How far a model's score of its mask is from the IoU, before and after a table that was made from other data sets.

    python benchmarks/calibration.py ../shared/data/slices --model lite-medsam --images 8

Prints, as JSON, the table for medsam.models.weights.score_tables and the expected calibration error in ten bins: of the raw score, and of
tables that never saw the data set they are held against (each left out in turn). At most four targets of an image count, once with boxes
that only grow and once with boxes both ways.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from medsam.evaluation.index import IndexedPicture, read_index, read_pair
from medsam.evaluation.metrics import iou
from medsam.evaluation.targets import BoxNoise, find_targets, generator_for, simulate_boxes
from medsam.inference.cache import EmbeddingCache
from medsam.inference.logits import read_expected_iou
from medsam.inference.predictor import Predictor, load_predictor
from medsam.models.weights.score_tables import ScoreTable

TARGETS, ROWS = 4, 8
STEEPNESS = 1e-3  # least rise between two rows, so that the order of masks stays


def scored(
    predictor: Predictor, rows: list[IndexedPicture], images: int, cache: EmbeddingCache
) -> Iterator[tuple[float, float]]:
    """Score and IoU of masks of one data set."""
    rng = np.random.default_rng(len(rows))
    done = 0
    for number in rng.permutation(len(rows)):
        row = rows[number]
        picture, labels = read_pair(row)
        targets = find_targets(labels, row.mask_kind)
        if not targets:
            continue
        drawn = generator_for(row.dataset, row.sample, 0, 1)
        some = [targets[i] for i in sorted(drawn.permutation(len(targets))[:TARGETS])]
        (embedding,) = cache.embed(predictor, [picture])
        for kind in ("enlarge", "both"):
            masks, scores = predictor.decode(embedding, boxes=simulate_boxes(some, BoxNoise(20, kind), drawn))
            yield from ((float(s), iou(m, t)) for s, m, t in zip(scores, masks, some, strict=True))
        done += 1
        if done == images:
            return


def table_of(pairs: np.ndarray) -> ScoreTable:
    """Rows of (score, IoU) at bins of equally many masks, made to rise, from an empty mask at (0, 0) to a score of 1."""
    bins = np.array_split(pairs[np.argsort(pairs[:, 0], kind="stable")], ROWS)
    scores = np.array([0.0, *(part[:, 0].mean() for part in bins)])
    means = np.array([0.0, *(part[:, 1].mean() for part in bins)])
    weights = np.array([len(part) for part in bins], dtype=float)
    level = list(zip(means[1:], weights, [1] * ROWS, strict=True))
    pooled: list[tuple[float, float, int]] = []  # pool adjacent violators
    for one in level:
        pooled.append(one)
        while len(pooled) > 1 and pooled[-2][0] >= pooled[-1][0]:
            (a, m, i), (b, n, j) = pooled[-2:]
            pooled[-2:] = [((a * m + b * n) / (m + n), m + n, i + j)]
    means[1:] = np.concatenate([[value] * count for value, _, count in pooled])
    means += STEEPNESS * np.arange(len(means))
    rows = [*zip(scores.tolist(), means.tolist(), strict=True)]
    rows.append((1.0, min(0.999, rows[-1][1] + 1.0 - rows[-1][0])))
    return tuple((round(score, 3), round(value, 3)) for score, value in rows)


def calibration_error(scores: np.ndarray, ious: np.ndarray) -> float:
    """Mean distance of score and IoU over ten bins of the score, weighted by their masks (Guo et al., ICML 2017)."""
    bins = np.minimum((scores * 10).astype(int), 9)
    parts = [bins == b for b in range(10)]
    return float(sum(abs(scores[p].mean() - ious[p].mean()) * p.mean() for p in parts if p.any()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("--model", default="lite-medsam")
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path("out/calibration"))
    given = parser.parse_args()
    predictor = load_predictor(given.model, device="cpu")
    predictor.manifest = replace(predictor.manifest, sha256=None)  # its scores as they are without a table
    cache = EmbeddingCache(given.cache)
    found = {
        folder.name: np.array(list(scored(predictor, read_index(folder, given.split), given.images, cache)))
        for folder in sorted(path.parent for path in given.collection.glob("*/index.csv"))
    }
    every = np.concatenate(list(found.values()))
    told = np.concatenate(
        [
            read_expected_iou(own[:, 0], table_of(np.concatenate([other for k, other in found.items() if k != name])))
            for name, own in found.items()
        ]
    )
    print(json.dumps({
        "model": given.model, "data_sets": len(found), "masks": len(every), "table": table_of(every),
        "calibration_error": round(calibration_error(every[:, 0], every[:, 1]), 3),
        "calibration_error_left_out": round(calibration_error(told, every[:, 1]), 3),
        "mean_error": round(float(np.abs(every[:, 0] - every[:, 1]).mean()), 3),
        "mean_error_left_out": round(float(np.abs(told - every[:, 1]).mean()), 3),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
