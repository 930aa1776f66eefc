"""Peak memory of fine-tuning a ViT-B with `medsam train`'s own loop: the decoder alone, and low-rank updates.

python benchmarks/train_memory.py [--frame 1024]; prints JSON. Both must fit a machine or a GPU of 8 GB.

Weights are random; two steps of one image each, with checkpoint and result written, as in a real run. "decoder" makes
each embedding once and keeps it on disk; "lora" trains the attention of the encoder with activations computed twice.
Each side runs in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from published import peak_mib

SIDES = ("decoder", "lora")
LIMIT_MIB = 8 * 1024


class Squares:
    """Two pictures of a square."""

    pictures = 2

    def __len__(self) -> int:
        return 2

    def identity(self) -> str:
        return "squares"

    def unit(self, number: int):
        from medsam.training.samples.sources import Unit

        return Unit(str(number), "squares", "unknown", "CC0")

    def read(self, number: int):
        from medsam.training.samples.sources import TrainingSlice

        pixels = np.random.default_rng(number).integers(0, 100, (512, 512, 3), dtype=np.uint8)
        pixels[100:300, 150:350] += 100
        mask = np.zeros((512, 512), bool)
        mask[100:300, 150:350] = True
        return TrainingSlice(pixels, [mask])


def one(side: str, frame: int) -> dict[str, float]:
    """Train two steps; peak memory of the process or the GPU in MiB, and the seconds of the run."""
    from medsam.models.networks.image_encoder import ImageEncoder
    from medsam.models.networks.mask_decoder import MaskDecoder
    from medsam.models.networks.medsam import MedSAM
    from medsam.models.networks.prompt_encoder import PromptEncoder
    from medsam.models.weights.catalog import CATALOG
    from medsam.training.config import TrainConfig
    from medsam.training.run.loop import fit

    config = TrainConfig(
        name=side, data=("squares",), tune_split="", epochs=1, global_batch=1, micro_batch=1, workers=0,
        encoder="frozen" if side == "decoder" else "lora", cache_embeddings=side == "decoder",
        checkpoint_activations=side == "lora",
    )  # fmt: skip
    manifest = replace(CATALOG["medsam-vit-b"].manifest, name=side, frame_size=frame, sha256=None)
    model = MedSAM(ImageEncoder(image_size=frame), PromptEncoder(image_size=frame, grid=frame // 16), MaskDecoder())
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit(config, Path(folder) / "run", model, manifest, Squares(), tune=None)
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak_mib()
    return {"peak_mib": round(peak), "seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--frame", type=int, default=1024)
    frame = parser.parse_args().frame
    report: dict[str, object] = {"device": "cuda" if torch.cuda.is_available() else "cpu", "frame": frame}
    for side in SIDES:
        command = [sys.executable, str(Path(__file__).resolve()), "--side", side, str(frame)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{side}: exit {done.returncode}\n{done.stderr}")
        found = json.loads(done.stdout.splitlines()[-1])
        report[side] = {**found, "fits_8_gb": found["peak_mib"] < LIMIT_MIB}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
