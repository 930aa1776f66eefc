"""LiteMedSAM's image encoder: the published module against ours in torch and in OpenVINO, and whether masks stay equal.

The three take turns on the same image, so that noise hits all; medians; prints JSON. The published structure is
transcribed operation by operation in published.py.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Picture

from medsam.errors import MissingDependencyError
from medsam.imaging.boxes import box_from_mask
from medsam.inference.embedding import Embedding
from medsam.inference.predictor import load_predictor
from published import PublishedLiteMedSAM

ROUNDS = 9
SLICES = Path(__file__).resolve().parents[2] / "shared" / "data" / "slices"


def examples() -> list[tuple[np.ndarray, np.ndarray]]:
    """Slices with boxes: one real image of each data set where they are here, else drawn discs."""
    found = []
    for folder in sorted(SLICES.glob("*/images")) if SLICES.is_dir() else []:
        path = sorted(folder.iterdir())[0]
        labels = np.asarray(Picture.open(folder.parent / "masks" / f"{path.stem}.png"))
        boxes = [box_from_mask(labels == i) for i in np.unique(labels) if i]
        if boxes:
            found.append((np.asarray(Picture.open(path).convert("RGB")), np.array(boxes[:4])))
    y, x = np.mgrid[:512, :512]
    noise = np.random.default_rng(0).normal(0, 6, (512, 512))
    for radius in () if found else (30, 60, 90):
        grey = (np.where((x - 250) ** 2 + (y - 240) ** 2 < radius**2, 180, 70) + noise).clip(0, 255).astype(np.uint8)
        box = np.array([[250 - radius, 240 - radius, 250 + radius, 240 + radius]])
        found.append((np.repeat(grey[..., None], 3, axis=2), box))
    return found


def timed(run, *arguments) -> tuple[float, object]:
    start = time.perf_counter()
    with torch.no_grad():
        result = run(*arguments)
    return time.perf_counter() - start, result


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def main() -> None:
    published, ours = PublishedLiteMedSAM(), load_predictor(device="cpu")
    sides = {"published": published.image_encoder, "torch": ours.runtime.encode}
    try:
        sides["openvino"] = load_predictor(runtime="openvino").runtime.encode
    except MissingDependencyError as error:
        print(f"without OpenVINO: {error}", file=sys.stderr)
    pictures = examples()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    worst = dict.fromkeys(sides, 1.0)
    for number in range(max(ROUNDS, len(pictures)) + 1):
        picture, boxes = pictures[number % len(pictures)]
        frame = ours.make_frame(*picture.shape[:2])
        image = torch.from_numpy(frame.image_to_model(picture))[None]
        masks = {}
        for name, encode in sides.items():
            took, features = timed(encode, image)
            seconds[name] += [took] if number else []  # the first round warms up
            embedding = Embedding(features, frame, ours.weights)
            masks[name] = ours.decode(embedding, boxes=boxes)[0]
            worst[name] = min(worst[name], dice(masks[name], masks["published"]))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "benchmark": "lite_encode",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "rounds": len(seconds["published"]),
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "times_faster_than_published": {
            name: round(medians["published"] / value, 2) for name, value in medians.items()
        },
        "least_dice_to_published_masks": {name: round(value, 5) for name, value in worst.items()},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
