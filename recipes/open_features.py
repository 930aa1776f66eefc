"""Keep LiteMedSAM's features of the pictures of open licences, with their targets: what recipes/open_weights.py learns from.

python recipes/open_sets.py ../shared/data/slices out/open
python recipes/open_features.py out/open out/open-features
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from medsam.evaluation.index import IndexedPicture, read_index, read_pair
from medsam.evaluation.targets import find_targets, generator_for
from medsam.inference.predictor import Predictor, load_predictor
from medsam.training.samples.augmentation import STRENGTHS, augment
from medsam.training.samples.sources import TrainingSlice

BASE, KEPT_TARGETS = "lite-medsam", 10
TWICE = ("micro_dsb2018", "mammo_cesm")


def list_pictures(sets: Path, view: int) -> list[IndexedPicture]:
    """Those that are encoded: one in six of the nuclei pictures and all others as they are, and about half of that changed."""
    rows = [row for index in sorted(sets.glob("*/index.csv")) for row in read_index(index.parent, None)]
    nuclei = [row for row in rows if row.dataset == "micro_dsb2018"]
    mammograms = [row for row in rows if row.dataset == "mammo_cesm"]
    others = [row for row in rows if row.dataset not in TWICE]
    if view == 0:
        return others + mammograms + nuclei[:2] + nuclei[6::6]
    return others[::2] + mammograms[::4] + nuclei[1:163:6]


def encode(sets: Path, out: Path) -> None:
    """Keep LiteMedSAM's features of every picture with its targets in the model frame, one file each."""
    predictor = load_predictor(BASE, device="cpu")
    out.mkdir(parents=True, exist_ok=True)
    for view in (0, 1):
        for row in list_pictures(sets, view):
            path = out / f"{view}_{row.dataset}_{row.sample}.pt"
            kept = None if path.exists() else encode_picture(predictor, row, view)
            if kept is not None:
                torch.save(kept, path)


def encode_picture(predictor: Predictor, row: IndexedPicture, view: int) -> dict[str, object] | None:
    """Features (C, 64, 64) float16, packed masks of up to ten targets, and the part of the frame that is filled."""
    picture, labels = read_pair(row)
    targets = find_targets(labels, row.mask_kind)
    if not targets:
        return None
    if view:
        rng = np.random.default_rng([6, view, *row.sample.encode()])
        changed = augment(TrainingSlice(picture, targets), STRENGTHS["strong"], rng)
        picture, targets = np.ascontiguousarray(changed.pixels_HW3), list(changed.masks)
    order = generator_for(row.dataset, row.sample, view).permutation(len(targets))[:KEPT_TARGETS]
    embedding = predictor.embed(picture)
    masks_NSS = np.stack([embedding.frame.mask_to_model(targets[i]) for i in order])
    seen = masks_NSS.reshape(len(masks_NSS), -1).sum(axis=1) >= 6
    if not seen.any():
        return None
    packed = torch.from_numpy(np.packbits(masks_NSS[seen]))
    return {"f": embedding.features[0].half(), "m": packed, "n": int(seen.sum()), "inner": embedding.frame.inner_hw}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    encode(given.sets, given.out)
