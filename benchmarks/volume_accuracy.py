"""Dice, NSD at 2 mm and seconds on volumes with expert masks: markers every 5 slices and a 3D box against a box on every slice.

    python benchmarks/volume_accuracy.py ../shared/data/volumes --only ct_lesion

Prints a table in Markdown, one row a volume. Every label of a mask above 0 is the same object. Markers are those of medsam simulate
(1 mm of jitter, seed 0), with the margin of today and with 5 pixels, the margin until 2026-11-28; boxes are the tight ones of the expert
mask, the box on every slice and the 3D box alike. "following alone" leaves out what a 3D box asks beside: the cuts of its ellipsoid.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from medsam.annotation.annotate import annotate
from medsam.annotation.study.simulated_reader import Reader, draw_markers
from medsam.evaluation.metrics import dice, normalized_surface_distance
from medsam.imaging.boxes import box_from_mask
from medsam.imaging.image import Image, Mask
from medsam.imaging.intensity import normalize
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor, load_predictor
from medsam.inference.volume.objects import segment_volume
from medsam.inference.volume.segment import segment
from medsam.inference.volume.tracks import make_tracks
from medsam.io.formats import read_image, read_mask


def cases(root: Path, only: str) -> Iterator[tuple[str, Image, Mask]]:
    """Name, normalized image and mask of one object."""
    pairs = [(f, f, "CT") for f in sorted(root.glob("ct_lesion_recist/*.npz"))]
    pairs += [(f, f.with_name(f.name.replace("flair", "seg")), "MR") for f in sorted(root.glob("brain_glioma/*flair*"))]
    pairs += [
        (f, f.with_name(f.name.replace("image", "label")), "MR") for f in sorted(root.glob("heart_left_atrium/*image*"))
    ]
    for scan, expert, modality in pairs:
        if only in str(scan):
            image = read_image(scan, modality=modality)
            mask = read_mask(expert, reference=image)
            yield scan.name.split(".")[0], normalize(image), Mask((mask.labels > 0).astype(np.uint8), mask.grid)


def ways(predictor: Predictor, image: Image, expert: Mask, cache: EmbeddingCache) -> dict[str, Callable[[], Mask]]:
    """What is compared, each with its own prompts."""
    inside = expert.labels > 0
    slices = np.flatnonzero(inside.any(axis=(1, 2))).tolist()
    boxes = {k: [tuple(box_from_mask(one).tolist())] for k, one in zip(slices, inside[slices], strict=True)}
    x0, y0, x1, y1 = box_from_mask(inside.any(axis=0)).tolist()
    solid = [(x0, y0, slices[0], x1, y1, slices[-1])]
    alone = [replace(one, also={}) for one in make_tracks([Prompt(1, box_3d=solid[0])], image.grid.shape)]
    markers = draw_markers(expert, Reader(every=5))
    return {
        "box on every slice": lambda: segment_volume(predictor, image, boxes=boxes, cache=cache),
        "markers, linear": lambda: annotate(predictor, image, markers, interpolation="linear", cache=cache).mask,
        "markers, round, 5 px": lambda: annotate(predictor, image, markers, margin_px=5.0, cache=cache).mask,
        "markers, round": lambda: annotate(predictor, image, markers, cache=cache).mask,
        "3D box, following alone": lambda: segment(predictor, image, alone, cache=cache).mask,
        "3D box": lambda: segment_volume(predictor, image, box3d=solid, cache=cache),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volumes", type=Path)
    parser.add_argument("--model", default="lite-medsam")
    parser.add_argument("--only", default="", help="part of the paths to take")
    given = parser.parse_args()
    predictor = load_predictor(given.model, device="cpu")
    sums: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(folder)
        for name, image, expert in cases(given.volumes, given.only):
            cells = []
            for way, segment in ways(predictor, image, expert, cache).items():
                began = time.perf_counter()
                found = segment()
                seconds = time.perf_counter() - began
                own = dice(found, expert), normalized_surface_distance(found, expert)
                sums.setdefault(way, []).append(own)
                cells.append(f"{own[0]:.3f} / {own[1]:.3f} ({seconds:.0f} s)")
            if len(sums["3D box"]) == 1:
                print(f"| volume | {' | '.join(sums)} |\n|---{'|---' * len(sums)}|")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    means = [np.mean(pairs, axis=0) for pairs in sums.values()]
    print(f"| mean | {' | '.join(f'{a:.3f} / {b:.3f}' for a, b in means)} |")


if __name__ == "__main__":
    main()
