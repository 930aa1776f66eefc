"""Curation against the released way on the same files in one run; prints JSON.

The released way, as its scripts do it: scikit-image bicubic with anti-aliasing to 1024 x 1024 x 3, min-max to [0, 1], one
float64 npy per slice, and its mask by nearest neighbour as uint8 npy. Ours: the whole of `medsam curate` in one process
(read, check, normalize, divide, hash, pack, commit, merge), then random reads from the store it made.

    python benchmarks/curate.py --root DATA [--slices 10] [--reads 2000] [CARD ...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from medsam.data.cards.card import Card, load_card
from medsam.data.cases.paths import find_cases
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store
from medsam.imaging.intensity import normalize
from medsam.io.formats import read_image, read_mask

CARDS = ["shared-ct-lesion", "shared-ct-mixed", "shared-brain-glioma", "shared-endoscopy-kvasir"]


class Clock:
    """Wall and CPU seconds since it was made; on a busy machine CPU seconds are the fairer of the two."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def released(card: Card, root: Path, wanted: int, folder: Path) -> tuple[int, tuple[float, float]]:
    """(slices, wall and CPU seconds) of the released pre-processing on the first slices that carry a target."""
    from skimage.transform import resize

    done = 0
    clock = Clock()
    for case in find_cases(card, root):
        image = normalize(read_image(root / case.image, modality=card.modality), card.window).values
        labels = read_mask(root / case.masks[0].files[0]).labels
        for plane, mask in zip(image, labels, strict=True):
            if not mask.any():
                continue
            rgb = np.repeat(plane[:, :, None], 3, axis=-1) if plane.ndim == 2 else plane
            big = resize(rgb, (1024, 1024), order=3, preserve_range=True, mode="constant", anti_aliasing=True)
            unit = (big - big.min()) / np.clip(big.max() - big.min(), a_min=1e-8, a_max=None)
            nearest = resize(mask, (1024, 1024), order=0, preserve_range=True, mode="constant", anti_aliasing=False)
            np.save(folder / f"img{done}.npy", unit)
            np.save(folder / f"gt{done}.npy", nearest.astype(np.uint8))
            done += 1
            if done == wanted:
                return done, clock.read()
    return done, clock.read()


def size_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def random_reads(store: Store, count: int) -> dict[str, float]:
    """Picture and mask of random pairs, one process, as a loader asks for them; first pass opens the arrays."""
    numbers = [int(n) for n in np.random.default_rng(0).integers(0, len(store), count)]
    for number in numbers[: count // 4]:
        store.pair(number)
    start = time.perf_counter()
    for number in numbers:
        store.pair(number)
    seconds = time.perf_counter() - start
    return {"pairs_per_s": round(count / seconds), "ms": round(seconds / count * 1e3, 3)}


def one(name: str, root: Path, slices: int, reads: int) -> dict[str, object]:
    card = load_card(name)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "released").mkdir()
        curate([CuratedSource(card, root)], folder / "warm")  # imports and file cache: both sides start warm
        count, theirs = released(card, root, slices, folder / "released")
        bytes_theirs = size_of(folder / "released") / count
        clock = Clock()
        report = curate([CuratedSource(card, root)], folder / "store")
        ours = clock.read()
        summary = report.counts[name].summary
        bytes_ours = size_of(folder / "store") / summary.images
        per_theirs, per_ours = [t / count for t in theirs], [t / summary.images for t in ours]
        result = {
            "images": summary.images,
            "pairs": summary.pairs_kept,
            "released": {
                "slices": count,
                "wall_s_per_image": round(per_theirs[0], 4),
                "cpu_s_per_image": round(per_theirs[1], 4),
                "KiB_per_image": round(bytes_theirs / 1024),
            },
            "ours": {
                "wall_s_per_image": round(per_ours[0], 5),
                "cpu_s_per_image": round(per_ours[1], 5),
                "images_per_cpu_s": round(1 / per_ours[1], 1),
                "pairs_per_cpu_s": round(summary.pairs_kept / ours[1], 1),
                "KiB_per_image": round(bytes_ours / 1024, 1),
                "KiB_per_pair": round(size_of(folder / "store") / summary.pairs_kept / 1024, 1),
            },
            "times_faster_wall": round(per_theirs[0] / per_ours[0]),
            "times_faster_cpu": round(per_theirs[1] / per_ours[1]),
            "times_smaller": round(bytes_theirs / bytes_ours),
            "random_reads": random_reads(Store(folder / "store"), reads),
        }
        shutil.rmtree(folder / "released")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cards", nargs="*", default=CARDS)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--slices", type=int, default=10)
    parser.add_argument("--reads", type=int, default=2000)
    given = parser.parse_args()
    result = {name: one(name, given.root, given.slices, given.reads) for name in given.cards}
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": 1,
    }
    json.dump({"machine": machine, "sets": result}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
