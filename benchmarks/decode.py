"""Time of decoding 1, 8 and 64 boxes on one embedding, ours against segment-anything's own batch; prints JSON.

python benchmarks/decode.py [--boxes 1 8 64]

Both sides take turns in one run, so a busy machine slows both; the ratio of the medians is the result. The weights are
random: time does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from medsam.models.networks.medsam import build
from published import segment_anything


def published_decode(sam: Any, features: Tensor, boxes: Tensor) -> Tensor:
    """What predict_torch of segment-anything runs for a batch of boxes, up to the low-resolution logits."""
    sparse, dense = sam.prompt_encoder(points=None, boxes=boxes, masks=None)
    logits, _ = sam.mask_decoder(
        image_embeddings=features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return logits


def compare(count: int, repeats: int) -> dict[str, object]:
    torch.manual_seed(0)
    plain = build("vit_b")
    sam = segment_anything("vit_b")
    sam.load_state_dict(plain.state_dict())
    fast = plain.optimize_for_inference()
    features = torch.randn(1, 256, 64, 64)
    corner = torch.rand(count, 2) * 700
    boxes = torch.cat([corner, corner + 20 + torch.rand(count, 2) * 300], dim=1)
    runs = {
        "published": lambda: published_decode(sam, features, boxes),
        "ours plain": lambda: plain.decode(features, boxes)[0],
        "ours": lambda: fast.decode(features, boxes)[0],
    }
    outputs = {name: run() for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    least = {name: min(values) for name, values in seconds.items()}
    return {
        "boxes": count,
        "threads": torch.get_num_threads(),
        "median_seconds": median,
        "speedup": {name: median["published"] / value for name, value in median.items()},
        "speedup_of_least": {name: least["published"] / value for name, value in least.items()},
        "largest_difference": {name: float((out - outputs["published"]).abs().max()) for name, out in outputs.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with torch.inference_mode():
        print(json.dumps([compare(count, asked.repeats) for count in asked.boxes], indent=1))


if __name__ == "__main__":
    main()
