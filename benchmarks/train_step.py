"""One training step of a ViT-B: the released training's structure against ours, and whether samples come fast enough.

python benchmarks/train_step.py [--frame 512] [--batch 1] [--rounds 2] [--passes 2]; prints JSON with ratios.

The released structure is segment-anything's modules in fp32, one box an image, the whole batch in one piece. Each side
runs in a process of its own, so that peak memory is its own, on the same batch; sides take turns, and the fastest step of
all passes counts, so that what else a machine does in between hurts no side alone. A CPU takes a frame of 512 pixels, which
needs 4 GB where 1024 would need 16 and more. Samples come from a curated store through the loader of `medsam train`, with
one worker and with two, and are held against what a step consumes: less than twice as many would be too slow.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from published import peak_mib, stand_in_torchvision

# lite: LiteMedSAM, all of it, at its own frame of 256; lite_given_back: the same, with freed memory given back
SIDES = ("released", "ours", "ours_compiled", "ours_checkpointed", "lite", "lite_given_back")
# On request only, as `--side ours_bf16 512 1 2 cpu`: for processors that compute in bfloat16.
LOADED = 96  # samples that are timed
PAPER_PAIRS, PAPER_EPOCHS = 1_570_263, 150  # Methods: image-mask pairs, Training protocol
# Dense TFLOP/s by the data sheets of the SXM boards, by the name torch gives; other boards have other peaks.
BF16_PEAKS = {
    "NVIDIA H200": 989,
    "NVIDIA H100 80GB HBM3": 989,
    "NVIDIA A100-SXM4-80GB": 312,
    "NVIDIA A100-SXM4-40GB": 312,
}


def released(frame: int) -> nn.Module:
    """segment-anything's ViT-B; what it takes from torchvision is not used in training."""
    stand_in_torchvision()
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer

    class Released(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image_encoder = ImageEncoderViT(
                img_size=frame, depth=12, embed_dim=768, num_heads=12, mlp_ratio=4, qkv_bias=True, use_rel_pos=True,
                norm_layer=partial(nn.LayerNorm, eps=1e-6), global_attn_indexes=(2, 5, 8, 11), window_size=14,
                out_chans=256,
            )  # fmt: skip
            side = frame // 16
            self.prompt_encoder = PromptEncoder(256, (side, side), (frame, frame), 16).requires_grad_(False)
            self.mask_decoder = MaskDecoder(
                transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
                transformer_dim=256,
            )

        def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
            features = self.image_encoder(image)
            with torch.no_grad():
                sparse, dense = self.prompt_encoder(points=None, boxes=boxes[:, None], masks=None)
            low, _ = self.mask_decoder(
                image_embeddings=features, image_pe=self.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False,
            )  # fmt: skip
            return F.interpolate(low, size=image.shape[-2:], mode="bilinear", align_corners=False)

    return Released()


def ours(frame: int, *, checkpointed: bool, compiled: bool) -> nn.Module:
    """Our modules under the paper's recipe."""
    from medsam.models.networks.image_encoder import ImageEncoder
    from medsam.models.networks.mask_decoder import MaskDecoder
    from medsam.models.networks.medsam import MedSAM
    from medsam.models.networks.prompt_encoder import PromptEncoder
    from medsam.training.config import TrainConfig
    from medsam.training.learner.objective import Objective
    from medsam.training.learner.trainable import set_trainable

    config = TrainConfig(data=("none",), checkpoint_activations=checkpointed, compile=compiled)
    prompts = PromptEncoder(image_size=frame, grid=frame // 16)
    return Objective(set_trainable(MedSAM(ImageEncoder(image_size=frame), prompts, MaskDecoder()), config), config)


def lite() -> nn.Module:
    """LiteMedSAM with every part learning, with weights that are random."""
    from medsam.models.networks.medsam import build
    from medsam.training.config import TrainConfig
    from medsam.training.learner.objective import Objective
    from medsam.training.learner.trainable import set_trainable

    config = TrainConfig(data=("none",))
    return Objective(set_trainable(build("tiny_vit"), config), config)


def model_of(side: str, frame: int) -> nn.Module:
    """The network of a side with its loss."""
    if side.startswith("lite"):
        return lite()
    if side == "released":
        return released(frame)
    return ours(frame, checkpointed=side == "ours_checkpointed", compiled=side == "ours_compiled")


def seconds_and_memory(side: str, frame: int, batch: int, rounds: int, device: str) -> dict[str, float]:
    """The fastest step after one to warm up, and the peak memory of the process or the GPU, MiB."""
    from medsam.training.learner.loss import segmentation_loss
    from medsam.training.run.allocator import keep_freed_memory
    from medsam.training.samples.dataset import Batch

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, 3, frame, frame, generator=generator)
    boxes = torch.tensor([[0.2, 0.2, 0.7, 0.8]]).expand(batch, -1) * frame
    masks = torch.zeros(batch, frame, frame, dtype=torch.uint8)
    masks[:, frame // 4 : frame // 2, frame // 4 : frame // 2] = 1
    one = Batch(("x",) * batch, image, boxes, masks, (1,) * batch, ((frame, frame),) * batch, ())
    one = one.to(torch.device(device))
    model = model_of(side, frame).to(device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.01)
    half = side == "ours_bf16" or (device == "cuda" and side != "released")
    times = []
    with (
        nullcontext()
        if side in ("released", "lite_given_back")
        else keep_freed_memory(torch.device(device), model.config)
    ):
        for _ in range(rounds + 1):
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
                if side == "released":
                    logits = model(one.image_B3SS, one.boxes_T4)[:, 0]
                    loss = segmentation_loss(logits, one.masks_TSS.float(), torch.ones_like(logits)).mean()
                else:
                    loss = model(one).mean()
            loss.backward()
            optimizer.step()
            loss.item()
            times.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mib()
    return {"seconds": min(times[1:]), "peak_mib": round(peak)}


def flops_of_a_step(frame: int, batch: int) -> int:
    """Floating-point operations of the encoder's products and convolutions in a step of ours, counted on no memory."""
    with torch.device("meta"):
        encoder = ours(frame, checkpointed=False, compiled=False).model.image_encoder
        image = torch.empty(batch, 3, frame, frame)
    counter = FlopCounterMode(display=False)
    with counter:
        encoder(image).sum().backward()
    return int(counter.get_total_flops())


def on_gpus(seconds: float, frame: int, batch: int, name: str) -> dict[str, object]:
    """What a step says of a GPU: its share of the matrix peak, and the paper's run on 20 of them, data ready in time."""
    rate = flops_of_a_step(frame, batch) / seconds / 1e12
    peak = BF16_PEAKS.get(name)
    return {
        "tflops": round(rate, 1),
        "share_of_bf16_peak": None if peak is None else round(rate / peak, 3),
        "hours_of_the_papers_run_on_20": round(PAPER_PAIRS * PAPER_EPOCHS / (20 * batch / seconds) / 3600, 1),
    }


def stored(folder: Path) -> Path:
    """A store of 48 slices of 512 x 512 pixels with three targets each."""
    from medsam.data.imports import import_tree

    rng = np.random.default_rng(0)
    (folder / "tree").mkdir()
    for case in range(12):
        labels = np.zeros((4, 512, 512), np.uint8)
        for label, (y, x) in enumerate(((60, 80), (200, 240), (350, 300)), start=1):
            labels[:, y : y + 90, x : x + 120] = label
        images = (labels * 50 + rng.integers(0, 60, labels.shape)).astype(np.uint8)
        np.savez_compressed(folder / f"tree/case{case:02d}.npz", imgs=images, gts=labels)
    import_tree(folder / "tree", folder / "store", name="squares", modality="MR", licence="CC0")
    return folder / "store"


def loading(store: Path, name: str, frame: int, workers: int) -> float:
    """Samples a second of the loader of `medsam train`, once its workers run."""
    from medsam.models.weights.catalog import CATALOG
    from medsam.training.config import TrainConfig
    from medsam.training.samples.dataset import Draws, load_batches
    from medsam.training.samples.sources import StoreSource

    config = TrainConfig(data=(str(store),), global_batch=4, micro_batch=4, workers=workers)
    manifest = replace(CATALOG[name].manifest, frame_size=frame)
    draws = Draws(StoreSource(store, "train", by_picture=False), manifest, config)
    first = 2 + 4 * workers  # what may be loaded ahead before the clock starts
    batches = load_batches(draws, range(first + LOADED // 4), rank=0, world=1)
    for _ in range(first):
        next(batches)
    began = time.perf_counter()
    count = sum(len(batch.names) for batch in batches)
    return count / (time.perf_counter() - began)


def best_of(arguments: argparse.Namespace, device: str) -> dict[str, dict[str, float]]:
    """Every side in turn, and that again; the fastest step and the highest memory of each."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(arguments.passes):
        for side in SIDES:
            frame, batch = (256, 4) if side.startswith("lite") else (arguments.frame, arguments.batch)
            sizes = [str(n) for n in (frame, batch, arguments.rounds)]
            command = [sys.executable, str(Path(__file__).resolve()), "--side", side, *sizes, device]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{side}: exit {done.returncode}\n{done.stderr}")
            found[side].append({"batch": batch, **json.loads(done.stdout.splitlines()[-1])})
    best = {}
    for side, runs in found.items():
        seconds, batch = min(run["seconds"] for run in runs), runs[0]["batch"]
        best[side] = {
            "seconds": round(seconds, 3),
            "samples_per_second": round(batch / seconds, 3),
            "peak_mib": max(run["peak_mib"] for run in runs),
        }
    return best


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        side, frame, batch, rounds, device = sys.argv[2:]
        print(json.dumps(seconds_and_memory(side, int(frame), int(batch), int(rounds), device)))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser()
    parser.add_argument("--frame", type=int, default=1024 if device == "cuda" else 512)
    parser.add_argument("--batch", type=int, default=8 if device == "cuda" else 1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--passes", type=int, default=2)
    arguments = parser.parse_args()
    sides = best_of(arguments, device)
    loaders: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = stored(Path(folder))
        for side, name, frame in (("ours", "medsam-vit-b", arguments.frame), ("lite", "lite-medsam", 256)):
            loaders[side] = {str(n): round(loading(store, name, frame, n), 1) for n in (1, 2)}
    base = sides["released"]
    ratios = {
        side: {
            "times_faster": round(base["seconds"] / sides[side]["seconds"], 3),
            "memory_share": round(sides[side]["peak_mib"] / base["peak_mib"], 3),
        }
        for side in ("ours", "ours_compiled", "ours_checkpointed")
    }
    supply = {
        side: {n: round(rate / sides[side]["samples_per_second"], 1) for n, rate in rates.items()}
        for side, rates in loaders.items()
    }
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    gpus = {
        side: on_gpus(sides[side]["seconds"], arguments.frame, arguments.batch, name)
        for side in ("ours", "ours_compiled")
        if device == "cuda"
    }
    report = {
        "device": name,
        "threads": torch.get_num_threads(),
        "frame": arguments.frame,
        "batch": arguments.batch,
        "steps": sides,
        "ours_against_released": ratios,
        **({"on_gpus": gpus} if gpus else {}),
        "loader_samples_per_second_by_workers": loaders,
        "loader_times_what_a_step_consumes": supply,
        "never_below_twice": min(rate for rates in supply.values() for rate in rates.values()) >= 2,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
