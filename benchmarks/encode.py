"""Time and memory of one encode, ours against the published implementations; prints JSON.

python benchmarks/encode.py vit     ViT-B at 1024 against segment-anything 1.0 (install it; torchvision is not needed)
python benchmarks/encode.py masks   only the agreement of ViT-B's masks
python benchmarks/encode.py lite    LiteMedSAM at 256 against a plain reading of its published structure

Both sides take turns in one run, so a busy machine slows both; the ratio of the medians is the result. Peak memory is
measured with each side alone in its own process. The weights are random: time does not depend on them, and agreement of
masks (vit) is that of random weights, not of trained ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor

from medsam.models.networks.medsam import MedSAM, build
from published import PublishedTinyViT, peak_mib, segment_anything

Encode = Callable[[Tensor], Tensor]


def random_model(architecture: str) -> MedSAM:
    """Our network with weights that make every part of it matter."""
    torch.manual_seed(0)
    model = build(architecture)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "rel_pos" in name or "attention_biases" in name:
                tensor.normal_(0, 0.3)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("bn.weight"):
                tensor.uniform_(0.5, 1.0)
    return model


def sides(kind: str) -> dict[str, Callable[[], Encode]]:
    """How to build each side."""
    if kind == "lite":
        return {
            "published": lambda: PublishedTinyViT.of(random_model("tiny_vit").image_encoder),
            "ours plain": lambda: random_model("tiny_vit").encode,
            "ours": lambda: random_model("tiny_vit").optimize_for_inference().encode,
        }

    def published() -> Encode:
        sam = segment_anything("vit_b")
        sam.load_state_dict(random_model("vit_b").state_dict())
        return sam.image_encoder

    return {
        "published": published,
        "ours plain": lambda: random_model("vit_b").encode,
        "ours": lambda: random_model("vit_b").optimize_for_inference().encode,
        "ours bf16": lambda: random_model("vit_b").optimize_for_inference("bf16").encode,
        "ours int8": lambda: random_model("vit_b").optimize_for_inference("int8").encode,
    }


def image(kind: str) -> Tensor:
    side = 256 if kind == "lite" else 1024
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def mask_dice(encoders: dict[str, Encode]) -> dict[str, dict[str, float]]:
    """Dice of the masks of 16 boxes on a real fundus picture to those of the published encoder.

    Weights are random, the decoder's too: its logits have no zero that means anything, so each mask is cut at the median
    of its published logits and covers half of the picture. "mirrored" is what another picture scores: the floor.
    """
    from skimage import data

    picture = Picture.fromarray(data.retina()).resize((1024, 1024), Picture.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 255
    chance = torch.Generator().manual_seed(0)
    corner, size = torch.rand(16, 2, generator=chance) * 600, torch.rand(16, 2, generator=chance) * 300
    boxes = torch.cat([corner, corner + 60 + size], 1)
    model = random_model("vit_b").eval()
    features = {name: encode(pixels) for name, encode in encoders.items()}
    features["mirrored"] = encoders["published"](pixels.flip(3))
    mean, spread = features["published"].mean(), features["published"].std()  # random features are far from unit size
    logits = {name: model.decode((f - mean) / spread, boxes)[0].flatten(1) for name, f in features.items()}
    cut = logits["published"].median(1, keepdim=True).values
    found = {}
    for name, values in logits.items():
        a, b = values > cut, logits["published"] > cut
        dice = 2 * (a & b).sum(1) / (a.sum(1) + b.sum(1))
        found[name] = {"median": float(dice.median()), "least": float(dice.min())}
    return found


def peak_gib(kind: str, side: str) -> float:
    """Peak resident memory of a process that builds one side and encodes twice."""
    command = [sys.executable, __file__, kind, "--peak-of", side, "--threads", str(torch.get_num_threads())]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(kind: str, repeats: int) -> dict[str, object]:
    picture = image(kind)
    encoders = {name: make() for name, make in sides(kind).items()}
    outputs = {name: encode(picture) for name, encode in encoders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(repeats):
        for name, encode in encoders.items():
            start = time.perf_counter()
            encode(picture)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    least = {name: min(values) for name, values in seconds.items()}
    reference = outputs["published"]
    return {
        "image": list(picture.shape),
        "threads": torch.get_num_threads(),
        "median_seconds": median,
        "speedup": {name: median["published"] / value for name, value in median.items()},
        "speedup_of_least": {name: least["published"] / value for name, value in least.items()},
        "largest_difference": {name: float((out - reference).abs().max()) for name, out in outputs.items()},
        "relative_difference": {
            name: float((out - reference).norm() / reference.norm()) for name, out in outputs.items()
        },
        **({"mask_dice": mask_dice(encoders)} if kind == "vit" else {}),
        "peak_gib": {name: peak_gib(kind, name) for name in encoders},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["vit", "masks", "lite"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with torch.inference_mode():
        if asked.peak_of:
            encode = sides(asked.kind)[asked.peak_of]()
            for _ in range(2):
                encode(image(asked.kind))
            print(peak_mib() / 1024)
            return
        if asked.kind == "masks":
            print(json.dumps({"mask_dice": mask_dice({name: make() for name, make in sides("vit").items()})}, indent=1))
            return
        print(json.dumps(compare(asked.kind, asked.repeats), indent=1))


if __name__ == "__main__":
    main()
