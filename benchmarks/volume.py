"""A 512 x 512 x 100 CT with a box on every slice: segment_volume against the plain loop with the published module.

The plain loop encodes and decodes each slice with the published LiteMedSAM and its own pre- and post-processing. Both
take turns, ten slices each. Peak memory is that of a process of its own which segments the whole scan. Prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lite_encode import dice
from medsam.imaging.boxes import box_from_mask
from medsam.imaging.frame import Frame
from medsam.imaging.image import Grid, Image
from medsam.inference.predictor import load_predictor
from medsam.inference.volume.objects import segment_volume
from published import PublishedLiteMedSAM, peak_mib

DEPTH = int(os.environ.get("MEDSAM_BENCH_DEPTH", "100"))  # fewer slices for a quick look
BLOCK = 10
LESIONS = Path(__file__).resolve().parents[2] / "shared" / "data" / "volumes" / "ct_lesion_recist"


def scan() -> tuple[Image, dict[int, list[tuple[float, ...]]]]:
    """Real CT slices stacked to 100, or a drawn phantom; the box of the lesion, or of the middle where there is none."""
    files = sorted(LESIONS.glob("*.npz"))
    if files:
        cases = [np.load(file) for file in files]
        values = np.concatenate([case["imgs"] for case in cases]).astype(np.uint8)
        lesions = np.concatenate([case["gts"] for case in cases]) > 0
    else:
        z, y, x = np.mgrid[:DEPTH, :512, :512].astype(np.int16)
        lesions = (z - 50) ** 2 * 2 + (y - 256) ** 2 + (x - 230) ** 2 < 70**2
        noise = np.random.default_rng(0).normal(0, 5, lesions.shape)
        values = (90 + 60 * lesions + noise).clip(0, 255).astype(np.uint8)
    order = np.arange(DEPTH) % len(values)
    boxes = {
        k: [tuple(box_from_mask(lesions[i])) if lesions[i].any() else (200.0, 200.0, 300.0, 300.0)]
        for k, i in enumerate(order)
    }
    grid = Grid((DEPTH, 512, 512), (5.0, 0.8, 0.8))
    return Image(np.ascontiguousarray(values[order]), grid, normalized=True), boxes


def plain_loop(
    model: PublishedLiteMedSAM, image: Image, boxes: dict[int, list[tuple[float, ...]]]
) -> dict[int, np.ndarray]:
    """One encode and one decode a slice, as the published inference script goes."""
    masks = {}
    for k, (box,) in boxes.items():
        height, width = image.values.shape[1:]
        frame = Frame(height, width, 256, "pad", "area", "min-max")
        tensor = torch.from_numpy(frame.image_to_model(image.slice_rgb(k)))[None]
        with torch.no_grad():
            features = model.image_encoder(tensor)
            sparse, dense = model.prompt_encoder(
                points=None, boxes=torch.from_numpy(frame.boxes_to_model(np.array([box])))[None], masks=None
            )
            logits, _ = model.mask_decoder(
                image_embeddings=features,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            rows, columns = frame.inner_hw
            full = F.interpolate(logits[..., :rows, :columns], (height, width), mode="bilinear", align_corners=False)
            masks[k] = (torch.sigmoid(full) > 0.5).squeeze().numpy()
    return masks


def peak_of_whole_scan(runtime: str) -> dict[str, float]:
    """Peak resident memory of a process that segments the scan, and of one that only loads it and the model."""
    found = {}
    for what in ("loaded", "segmented"):
        answer = subprocess.run([sys.executable, __file__, "--peak", what, runtime], capture_output=True, check=True)
        found[f"{what}_mib"] = float(answer.stdout.split()[-1])
    return found


def report_peak(what: str, runtime: str) -> None:
    image, boxes = scan()
    predictor = load_predictor(runtime=runtime, device="cpu")
    if what == "segmented":
        segment_volume(predictor, image, boxes=boxes)
    print(peak_mib())


def side_by_side(runtime: str) -> dict[str, object]:
    image, boxes = scan()
    model, predictor = PublishedLiteMedSAM(), load_predictor(runtime=runtime, device="cpu")
    seconds = {"plain": 0.0, "ours": 0.0}
    dices = []
    for start in range(-BLOCK, DEPTH, BLOCK):  # the first block warms up
        some = {k: boxes[k] for k in range(max(0, start), min(DEPTH, max(0, start) + BLOCK))}
        before = time.perf_counter()
        plain = plain_loop(model, image, some)
        between = time.perf_counter()
        mask = segment_volume(predictor, image, boxes=some)
        after = time.perf_counter()
        if start >= 0:
            seconds["plain"] += between - before
            seconds["ours"] += after - between
            dices += [dice(plain[k], mask.labels[k] > 0) for k in some if plain[k].any()]
    return {
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "times_faster": round(seconds["plain"] / seconds["ours"], 2),
        "least_dice_of_a_slice": round(min(dices), 5),
    }


def main() -> None:
    if "--peak" in sys.argv:
        report_peak(*sys.argv[2:4])
        return
    volume_mib = DEPTH * 512 * 512 / 2**20
    result: dict[str, object] = {"benchmark": "volume", "threads": torch.get_num_threads(), "volume_mib": volume_mib}
    for runtime in sys.argv[1:] or ("torch", "auto"):
        result[runtime] = {**side_by_side(runtime), "peak": peak_of_whole_scan(runtime), "limit_mib": volume_mib + 2048}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
