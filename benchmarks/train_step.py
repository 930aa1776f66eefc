"""One training step of a ViT-B: the released training's structure against ours, on the same batch; prints JSON.

The released structure is segment-anything's modules in fp32, one box an image, the whole batch in one piece. Each side
runs in a process of its own, so that peak memory is its own; one runs after the other, so keep the machine quiet. A CPU takes a frame of 512 pixels, which
needs 4 GB where 1024 would need 16 and more.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from published import peak_mib, stand_in_torchvision

ROUNDS = 2
SIDES = ("released", "ours", "ours_checkpointed")


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


def ours(frame: int, *, checkpointed: bool) -> nn.Module:
    """Our modules under the paper's recipe."""
    from medsam.models.image_encoder import ImageEncoder
    from medsam.models.mask_decoder import MaskDecoder
    from medsam.models.medsam import MedSAM
    from medsam.models.prompt_encoder import PromptEncoder
    from medsam.training.config import TrainConfig
    from medsam.training.objective import Objective
    from medsam.training.parts import prepare

    config = TrainConfig(data=("none",), checkpoint_activations=checkpointed)
    prompts = PromptEncoder(image_size=frame, grid=frame // 16)
    return Objective(prepare(MedSAM(ImageEncoder(image_size=frame), prompts, MaskDecoder()), config), config)


def seconds_and_memory(side: str, frame: int, batch: int, device: str) -> dict[str, float]:
    """Median of a step after one to warm up, and the peak memory of the process or the GPU, MiB."""
    from medsam.training.dataset import Batch
    from medsam.training.loss import segmentation_loss

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, 3, frame, frame, generator=generator)
    boxes = torch.tensor([[0.2, 0.2, 0.7, 0.8]]).expand(batch, -1) * frame
    masks = torch.zeros(batch, frame, frame, dtype=torch.uint8)
    masks[:, frame // 4 : frame // 2, frame // 4 : frame // 2] = 1
    one = Batch(("x",) * batch, image, boxes, masks, (1,) * batch, ((frame, frame),) * batch, ())
    one = one.to(torch.device(device))
    model = (released(frame) if side == "released" else ours(frame, checkpointed=side.endswith("ed"))).to(device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.01)
    half = device == "cuda" and side != "released"
    times = []
    for _ in range(ROUNDS + 1):
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
    rss = peak_mib()
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else rss
    return {"seconds": statistics.median(times[1:]), "peak_mib": round(peak)}


def loading() -> dict[str, float]:
    """Samples a second that one loader process makes of 512 x 512 pictures, for frames of 256 and 1024."""
    import numpy as np

    from medsam.models.catalog import CATALOG
    from medsam.training.config import TrainConfig
    from medsam.training.dataset import sample
    from medsam.training.sources import Slice

    config, rng = TrainConfig(data=("none",)), np.random.default_rng(0)
    grey = rng.integers(0, 256, (512, 512, 1), dtype=np.uint8)
    mask = np.zeros((512, 512), bool)
    mask[100:200, 100:250] = True
    rates = {}
    for name in ("lite-medsam", "medsam-vit-b"):
        began = time.perf_counter()
        for _ in range(40):
            sample(Slice(np.repeat(grey, 3, axis=2), [mask]), "x", CATALOG[name].manifest, config, rng)
        rates[name] = round(40 / (time.perf_counter() - began), 1)
    return rates


def main() -> None:
    if len(sys.argv) == 5:
        side, frame, batch, device = sys.argv[1:]
        print(json.dumps(seconds_and_memory(side, int(frame), int(batch), device)))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    frame, batch = (1024, 8) if device == "cuda" else (512, 1)
    report: dict[str, object] = {"device": device, "threads": torch.get_num_threads(), "frame": frame, "batch": batch}
    for side in SIDES:
        command = [sys.executable, str(Path(__file__).resolve()), side, str(frame), str(batch), device]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        report[side] = json.loads(done.stdout.splitlines()[-1])
    base = report["released"]["seconds"]
    report["times_faster"] = {side: round(base / report[side]["seconds"], 2) for side in SIDES[1:]}
    report["loader_samples_per_second"] = loading()
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
