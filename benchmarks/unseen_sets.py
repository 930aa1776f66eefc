"""Median Dice and NSD of models on data sets that openmedsam-lite-open never saw, with boxes both ways and with boxes that only grow.

    python benchmarks/unseen_sets.py ../shared/data/slices --against lite-medsam --model openmedsam-lite-open

Eight pictures a set of the train split and eight of the val split, which the train split fills up, at most four targets each; pictures that
recipes/open_sets.py gives to the training are left out, and so are the sets that it gives whole. Both models must share their image
encoder: each picture is encoded once, by the first one. Prints tables in Markdown, and what the median and the first quartile of a set lose at most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.evaluation.index import IndexedPicture, read_index, read_pair
from medsam.evaluation.metrics import dice, normalized_surface_distance
from medsam.evaluation.targets import BoxNoise, find_targets, generator_for, simulate_boxes
from medsam.inference.predictor import Predictor, load_predictor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recipes"))
from open_sets import SOURCES, first_word

PICTURES, TARGETS, SEED = 8, 4, 5
KINDS = {"both ways": "both", "growing only": "enlarge"}


def choose_pictures(folder: Path) -> list[IndexedPicture]:
    """Pictures of a set: eight of train, then eight of val, or else of train, with no patient of the first eight where others are left."""
    opened = {(name, word) for name, word, *_ in SOURCES}
    rows: dict[str, list[IndexedPicture]] = {}
    for split in ("train", "val"):
        own = [
            r for r in read_index(folder, split)
            if not {(folder.name, ""), (folder.name, first_word(r.image.name))} & opened
        ]  # fmt: skip
        rows[split] = [own[i] for i in np.random.default_rng(len(own)).permutation(len(own))]
    first, later = rows["train"][:PICTURES], rows["train"][PICTURES:]
    used = {r.group for r in first if r.group and r.group != "unknown"}
    rest = [r for r in later if r.group not in used] + [r for r in later if r.group in used]
    return first + [*rows["val"], *rest][:PICTURES]


def measure(models: Sequence[Predictor], folder: Path) -> Iterator[tuple[str, int, float, float]]:
    """Kind of box, number of the model, Dice and NSD at 2 pixels of each target of a set."""
    for row in choose_pictures(folder):
        picture, labels_HW = read_pair(row)
        targets = find_targets(labels_HW, row.mask_kind)
        if not targets:
            continue
        order = generator_for(row.dataset, row.sample, 0, 1).permutation(len(targets))[:TARGETS]
        masks: list[NDArray[np.bool_]] = [targets[i] for i in sorted(order)]
        embedding = models[0].embed(picture)
        rng = generator_for(row.dataset, row.sample, SEED)
        for kind, noise in KINDS.items():
            boxes = simulate_boxes(masks, BoxNoise(20, noise), rng)
            for k, model in enumerate(models):
                found, _ = model.decode(replace(embedding, weights=model.weights), boxes=boxes)
                for got, wanted in zip(found, masks, strict=True):
                    yield kind, k, dice(got, wanted), normalized_surface_distance(got, wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("--against", default="lite-medsam")
    parser.add_argument("--model", default="openmedsam-lite-open")
    given = parser.parse_args()
    models = [load_predictor(name, device="cpu", runtime="torch") for name in (given.against, given.model)]
    whole = {name for name, word, *_ in SOURCES if not word}
    sets = {
        folder.name: list(measure(models, folder))
        for folder in sorted(path.parent for path in given.collection.glob("*/index.csv"))
        if folder.name not in whole
    }
    for kind in KINDS:
        print(f"\n| {kind} | targets | Dice | NSD |\n|---|---|---|---|")
        middle_SKM, low_SK = [], []
        for name, rows in sets.items():
            of = [np.array([row[2:] for row in rows if row[:2] == (kind, k)]) for k in (0, 1)]
            middle_SKM.append([np.median(values, axis=0) for values in of])
            low_SK.append([np.quantile(values[:, 0], 0.25) for values in of])
            (d0, n0), (d1, n1) = middle_SKM[-1]
            print(f"| {name} | {len(of[0])} | {d0:.3f} -> {d1:.3f} | {n0:.3f} -> {n1:.3f} |", flush=True)
        (d0, n0), (d1, n1) = np.mean(middle_SKM, axis=0)
        print(f"| **mean of medians** | | {d0:.3f} -> {d1:.3f} | {n0:.3f} -> {n1:.3f} |")
        gains = np.array(middle_SKM)[:, :, 0], np.array(low_SK)
        falls = [100 * float((values[:, 1] - values[:, 0]).min()) for values in gains]
        print(f"\nWorst set: median Dice {falls[0]:+.1f}, first quartile {falls[1]:+.1f} points.")


if __name__ == "__main__":
    main()
