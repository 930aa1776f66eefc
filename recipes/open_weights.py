"""openmedsam-lite-open: LiteMedSAM's decoder, prompts and score on pictures of open licences, with features that are kept.

    python recipes/open_sets.py ../shared/data/slices out/open
    python recipes/open_features.py out/open out/open-features
    python recipes/open_weights.py train out/open-features out/seed0.pt --seed 0        # and seed 1, and seed 2 with --stop 90
    python recipes/open_weights.py mix out/seed0.pt out/seed1.pt --share 0.5 -o out/body.safetensors
    python recipes/open_weights.py train out/open-features out/clicks.pt --seed 10 --body out/body.safetensors --steps 60 --rate 2e-4
    python recipes/open_weights.py mix out/seed?.pt --share 0.4 --answers out/clicks.pt -o out/mean.safetensors
    medsam models convert out/mean.safetensors out/openmedsam-lite-open.safetensors --half

Each picture draws one kind of prompt for up to three targets: boxes that only grow (LiteMedSAM's own answer is a second teacher there), boxes
both ways, a click, or objects that LiteMedSAM sees in random boxes. Boxes and clicks go on with clicks on the largest error, mostly with the
answer before as a mask. Logits are made at a quarter of the places of the 256 x 256, another quarter each time: half of the time of a step.

Shapes: N targets, P clicks, h w 128 x 128, S side of the frame, C channels, I image tokens.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medsam.imaging.boxes import box_from_mask, perturb_boxes
from medsam.inference.prompts import make_mask_logits
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.catalog import resolve
from medsam.models.weights.checkpoint import load_checkpoint, save_checkpoint
from medsam.training.samples.prompting import find_correction, place_clicks

BASE, SIDE, GRID, TARGETS = "lite-medsam", 256, 64, 3
KINDS, CHANCES = ("grow", "both", "click", "pseudo"), (0.28, 0.20, 0.38, 0.14)
SETS = (
    "micro_dsb2018", "mammo_cesm", "us_liver", "us_fetalhead", "us_carotid", "ct_aorta", "ct_ich", "ct_sich", "ct_spleen",
    "ct_lungtumor", "mr_hippocampus",
)  # fmt: skip
TWICE = ("micro_dsb2018", "mammo_cesm")  # drawn twice as often as the other sets
RATES = {"clicks": 10, "mask": 5, "body": 1, "score": 2}  # in rates of the decoder's body
MORE = {"click": (0.35, 0.30, 0.20, 0.15), "box": (0.45, 0.30, 0.15, 0.10)}  # chances of 0 to 3 corrections


# ---- a quarter of the logits


def decode_quarter(
    model: MedSAM, features_1CHW: Tensor, prompts: tuple[Tensor | None, ...], at: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Decode at some places alone: the up-sampling treats each of them by itself.

    Args:
        model: Plain, not fused.
        features_1CHW: Of one picture.
        prompts: Boxes, points, labels and mask logits, each of N targets or None.
        at: a, b in 0 and 1: place (2i + p, 2j + q) of the result is (4i + 2a + p, 4j + 2b + q) of the whole.

    Returns:
        Logits (N, 128, 128) and predicted IoU (N,).
    """
    boxes_N4, points_NP2, labels_NP, masks_N1SS = prompts
    encoder, decoder = model.prompt_encoder, model.mask_decoder
    dense = encoder.no_mask() if masks_N1SS is None else encoder.embed_masks(masks_N1SS)
    sparse_NTC = encoder.sparse(boxes_N4, points_NP2, labels_NP)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens_NTC = torch.cat([own.expand(len(sparse_NTC), -1, -1), sparse_NTC], dim=1)
    places_1IC = encoder.image_positions().flatten(1).t().unsqueeze(0)
    image_NIC = (features_1CHW + dense).flatten(2).transpose(1, 2)
    tokens_NTC, image_NIC = decoder.transformer(tokens_NTC, image_NIC, places_1IC)
    first, norm, _, second, _ = decoder.output_upscaling
    values = image_NIC @ first.weight[:, :, at[0], at[1]] + first.bias
    centred = values - values.mean(dim=-1, keepdim=True)
    scaled = centred * torch.rsqrt((centred * centred).mean(dim=-1, keepdim=True) + norm.eps)
    values = F.gelu(scaled * norm.weight + norm.bias)
    four = second.weight.permute(0, 2, 3, 1).reshape(len(second.weight), -1)
    values = F.gelu(values @ four + second.bias.repeat(4))
    kernel_NC = decoder.output_hypernetworks_mlps[0](tokens_NTC[:, 1])
    n, c = kernel_NC.shape
    logits = torch.matmul(values.view(n, -1, c), kernel_NC[:, :, None]).view(n, GRID, GRID, 2, 2)
    return logits.permute(0, 1, 3, 2, 4).reshape(n, 2 * GRID, 2 * GRID), decoder.iou_prediction_head(tokens_NTC[:, 0])[
        :, 0
    ]


def pick(whole_NSS: Tensor, at: tuple[int, int]) -> Tensor:
    """The same places of masks of 256 x 256, (N, 128, 128)."""
    blocks = whole_NSS.reshape(-1, GRID, 4, GRID, 4)
    part = blocks[:, :, 2 * at[0] : 2 * at[0] + 2, :, 2 * at[1] : 2 * at[1] + 2]
    return part.reshape(-1, 2 * GRID, 2 * GRID)


def fill(part_Nhw: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Masks of 256 x 256 from a quarter of their places, by the nearest of the same token."""
    blocks = part_Nhw.reshape(-1, GRID, 2, GRID, 2).repeat(2, 2).repeat(2, 4)
    return np.ascontiguousarray(blocks.reshape(-1, SIDE, SIDE))


# ---- one picture


@dataclass
class Asked:
    """What is asked of one picture, and what would be right.

    Args:
        kind: One of KINDS.
        boxes_N4: Model pixels, or None for clicks.
        masks_NSS: What clicks correct towards.
        right_Nhw: 0 to 1, at the places `at`.
        inside_1hw: 1 where the frame shows the picture.
    """

    kind: str
    boxes_N4: Tensor | None
    masks_NSS: NDArray[np.bool_]
    right_Nhw: Tensor
    inside_1hw: Tensor
    at: tuple[int, int]
    points_NP2: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 2), np.float32))
    labels_NP: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))


def ask(
    kept: dict[str, object], teacher: MedSAM, rng: np.random.Generator, *, clicks_only: bool
) -> tuple[Tensor, Asked] | None:
    """Draw a kind of prompt for a picture; None where LiteMedSAM sees nothing clear in random boxes."""
    features_1CHW = kept["f"][None].float()
    rows, columns = kept["inner"]
    masks = np.unpackbits(kept["m"].numpy()).reshape(-1, SIDE, SIDE)[: kept["n"]]
    masks = masks[rng.permutation(len(masks))[:TARGETS]].astype(bool)
    masks = np.repeat(masks, 2, axis=0) if len(masks) == 1 else masks
    at = int(rng.integers(2)), int(rng.integers(2))
    inside = torch.zeros(1, SIDE, SIDE)
    inside[:, :rows, :columns] = 1
    inside = pick(inside, at)
    kind = KINDS[rng.choice(len(KINDS), p=CHANCES)]
    kind = "click" if clicks_only and kind == "grow" else kind
    if kind == "pseudo":
        asked = _ask_teacher(features_1CHW, teacher, inside, at, draw_boxes(4, rows, columns, rng))
        if asked is None:
            return None
        asked.boxes_N4 = asked.boxes_N4 if rng.random() < 0.5 and not clicks_only else None
        return features_1CHW, asked
    tight_N4 = np.stack([box_from_mask(mask) for mask in masks]).astype(float)
    boxes = None
    if kind == "grow":
        boxes = perturb_boxes(tight_N4, rows, columns, rng, max_px=20 if rng.random() < 0.6 else 32, noise="enlarge")
    elif kind == "both":
        boxes = perturb_boxes(tight_N4, rows, columns, rng, max_px=20, noise="both" if rng.random() < 0.6 else "all")
    right = pick(torch.from_numpy(masks.astype(np.float32)), at)
    return features_1CHW, Asked(kind, None if boxes is None else _tensor(boxes), masks, right, inside, at)


def _ask_teacher(
    features_1CHW: Tensor, teacher: MedSAM, inside_1hw: Tensor, at: tuple[int, int], boxes: NDArray[np.float64]
) -> Asked | None:
    """What LiteMedSAM is sure of in random boxes."""
    with torch.no_grad():
        logits, _ = decode_quarter(teacher, features_1CHW, (_tensor(boxes), None, None, None), at)
    sure = (logits > 1).sum(dim=(1, 2)) / (logits > -1).sum(dim=(1, 2)).clamp(min=1)
    clear = [i for i in range(len(boxes)) if (logits[i] > 0).sum() >= 10 and sure[i] > 0.6][:TARGETS]
    if not clear:
        return None
    logits = logits[clear]
    masks = fill(((logits > 0) & (inside_1hw > 0)).numpy())
    return Asked("pseudo", _tensor(boxes[clear]), masks, logits.sigmoid(), inside_1hw, at)


def draw_boxes(count: int, rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Boxes anywhere in the picture, sides of 10 to 150 model pixels."""
    found = []
    for _ in range(count):
        width, height = np.exp(rng.uniform(np.log(10), np.log(150), 2))
        width, height = min(width, columns - 2), min(height, rows - 2)
        x, y = rng.uniform(0, columns - 1 - width), rng.uniform(0, rows - 1 - height)
        found.append((x, y, x + width, y + height))
    return np.array(found)


def click(asked: Asked, rng: np.random.Generator) -> None:
    """First clicks: one well inside each target, now and then a second anywhere or beside it."""
    lists = [place_clicks(mask, 2 if rng.random() < 0.15 else 1, rng) for mask in asked.masks_NSS]
    longest = max(map(len, lists))
    asked.points_NP2 = np.zeros((len(lists), longest, 2), np.float32)
    asked.labels_NP = np.full((len(lists), longest), -1)
    for target, clicks in enumerate(lists):
        for number, (xy, label) in enumerate(clicks):
            asked.points_NP2[target, number], asked.labels_NP[target, number] = xy, label


def count_rounds(asked: Asked, rng: np.random.Generator) -> int:
    """The first answer and its corrections; of boxes that only grow three in ten are corrected."""
    if asked.boxes_N4 is None:
        return 1 + int(rng.choice(4, p=MORE["click"]))
    if asked.kind == "both" or (asked.kind == "grow" and rng.random() < 0.3):
        return 1 + int(rng.choice(4, p=MORE["box"]))
    return 1


def correct(asked: Asked, found_NSS: NDArray[np.bool_]) -> None:
    """One click more for each target, where the answer is wrong most."""
    pairs = zip(asked.masks_NSS, found_NSS, strict=True)
    new = [find_correction(mask & ~found, found & ~mask) for mask, found in pairs]
    points = np.array([[one[:2]] for one in new], np.float32)
    labels = np.array([[one[2]] for one in new])
    had = asked.points_NP2.shape[1] > 0
    asked.points_NP2 = np.concatenate([asked.points_NP2, points], axis=1) if had else points
    asked.labels_NP = np.concatenate([asked.labels_NP, labels], axis=1) if had else labels


def measure_picture(
    model: MedSAM, teacher: MedSAM, features_1CHW: Tensor, asked: Asked, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """The loss of all rounds of a picture, and that of its first answer alone."""
    if asked.boxes_N4 is None:
        click(asked, rng)
    rounds, losses = count_rounds(asked, rng), []
    before, around = None, None
    for again in range(rounds):
        points = (torch.from_numpy(asked.points_NP2), torch.from_numpy(asked.labels_NP))
        clicks = points if asked.points_NP2.shape[1] else (None, None)
        boxes = around if asked.boxes_N4 is None else asked.boxes_N4
        logits, quality = decode_quarter(model, features_1CHW, (boxes, *clicks, before), asked.at)
        losses.append(_loss(teacher, features_1CHW, asked, logits, quality, first=again == 0))
        if again + 1 == rounds:
            break
        found = fill(((logits.detach() > 0) & (asked.inside_1hw > 0)).numpy())
        correct(asked, found)
        way, before, around = rng.random(), None, None
        if way < 0.65:
            before = make_mask_logits(torch.from_numpy(found.astype(np.uint8)), SIDE)
        elif way < 0.8 and asked.boxes_N4 is None and found.any(axis=(1, 2)).all():
            around = _tensor(np.stack([box_from_mask(mask) for mask in found]))
    share = 0.7 if asked.kind == "pseudo" else 1.0
    return share * torch.cat(losses).mean(), float(losses[0].detach().mean())


def _loss(
    teacher: MedSAM, features_1CHW: Tensor, asked: Asked, logits_Nhw: Tensor, quality_N: Tensor, *, first: bool
) -> Tensor:
    loss_N = compare(logits_Nhw, asked.right_Nhw, asked.inside_1hw)
    if asked.kind == "grow" and first:
        with torch.no_grad():
            told, _ = decode_quarter(teacher, features_1CHW, (asked.boxes_N4, None, None, None), asked.at)
        loss_N = 0.5 * loss_N + 0.7 * compare(logits_Nhw, told.sigmoid(), asked.inside_1hw)
    if asked.kind != "pseudo":
        found, wanted = (logits_Nhw.detach() > 0) & (asked.inside_1hw > 0), asked.right_Nhw > 0.5
        iou_N = (found & wanted).sum(dim=(1, 2)) / (found | wanted).sum(dim=(1, 2)).clamp(min=1)
        loss_N = loss_N + (quality_N - iou_N) ** 2
    return loss_N


def compare(logits_Nhw: Tensor, right_Nhw: Tensor, inside_1hw: Tensor) -> Tensor:
    """Cross-entropy plus Dice loss towards shares from 0 to 1, (N,)."""
    entropy = F.binary_cross_entropy_with_logits(logits_Nhw, right_Nhw, reduction="none") * inside_1hw
    found, right = logits_Nhw.sigmoid() * inside_1hw, right_Nhw * inside_1hw
    sums = (found * found).sum(dim=(1, 2)) + (right * right).sum(dim=(1, 2))
    dice = 1 - (2 * (found * right).sum(dim=(1, 2)) + 1e-3) / (sums + 1e-3)
    return entropy.sum(dim=(1, 2)) / inside_1hw.sum(dim=(1, 2)) + dice


def _tensor(boxes: NDArray[np.float64]) -> Tensor:
    return torch.tensor(np.asarray(boxes), dtype=torch.float32)


# ---- runs


def name_group(key: str) -> str:
    """To which group of rates and shares a tensor of the decoder or the prompt encoder belongs."""
    if any(part in key for part in ("point_embeddings.0", "point_embeddings.1", "not_a_point")):
        return "clicks"
    if "mask_downscaling" in key:
        return "mask"
    return "score" if "iou_prediction_head" in key else "body"


def load_still(name: str | Path) -> MedSAM:
    """A model with nothing that learns."""
    model, _ = load_checkpoint(*resolve(name))
    return model.eval().requires_grad_(False)


def set_learning(model: MedSAM, *, clicks_only: bool) -> list[dict[str, object]]:
    """Let the decoder and the prompt encoder learn, or what answers clicks and the score alone; gives groups of rates.

    What one mask a prompt never uses stays as it is. With clicks alone the answers to boxes stay as they are, bit by bit.
    """
    unused = tuple(f"mask_decoder.output_hypernetworks_mlps.{n}." for n in (1, 2, 3))
    groups: dict[str, list[Tensor]] = {name: [] for name in RATES}
    for key, parameter in model.named_parameters():
        learns = not clicks_only or name_group(key) != "body"
        if learns and not key.startswith(("image_encoder", *unused)):
            groups[name_group(key)].append(parameter.requires_grad_(True))
    return [{"params": some, "share": RATES[name]} for name, some in groups.items() if some]


def train(folder: Path, out: Path, *, seed: int, steps: int, stop: int, rate: float, body: Path | None) -> None:
    """Train one seed on one thread and write the decoder and the prompt encoder.

    With a body, that is where it begins, and it learns clicks and the score alone.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng([77, seed])
    model, teacher, clicks_only = load_still(body or BASE), load_still(BASE), body is not None
    optimizer = torch.optim.AdamW(
        set_learning(model, clicks_only=clicks_only), lr=rate, weight_decay=0.0, betas=(0.9, 0.98)
    )
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.pt")):
        files.setdefault(next(name for name in SETS if path.name[2:].startswith(name)), []).append(path)
    names = sorted(files)
    chances = np.array([2.0 if name in TWICE else 1.0 for name in names])
    began = time.perf_counter()
    seen: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for step in range(min(steps, stop)):
        now = rate * min(1, (step + 1) / 10) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = now * group["share"]
        optimizer.zero_grad()
        for _ in range(3):
            own = files[names[rng.choice(len(names), p=chances / chances.sum())]]
            drawn = ask(torch.load(own[rng.integers(len(own))]), teacher, rng, clicks_only=clicks_only)
            if drawn is not None:
                loss, first = measure_picture(model, teacher, *drawn, rng)
                (loss / 3).backward()
                seen[drawn[1].kind].append(first)
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
        optimizer.step()
        if step % 10 == 9 or step == 2:
            told = {kind: round(float(np.mean(losses[-40:])), 3) for kind, losses in sorted(seen.items()) if losses}
            print(step + 1, round(time.perf_counter() - began), told, flush=True)
    torch.save({k: v for k, v in model.state_dict().items() if not k.startswith("image_encoder")}, out)


def mix(seeds: list[Path], out: Path, *, share: float, answers: Path | None) -> None:
    """Write LiteMedSAM with a share of the mean of some seeds in the decoder's body, and all else as seeds or `answers` have it."""
    model, manifest = load_checkpoint(*resolve(BASE))
    parts = [torch.load(path) for path in seeds]
    tensors = model.state_dict()
    for key in parts[0]:
        own, of = (share, parts) if name_group(key) == "body" else (1.0, [torch.load(answers)] if answers else parts)
        mean = sum(part[key].double() for part in of) / len(of)
        tensors[key] = (tensors[key].double() + own * (mean - tensors[key].double())).float()
    model.load_state_dict(tensors)
    told = replace(
        manifest, name="openmedsam-lite-open", prompts=("box", "point"), quality_trained=True, sha256=None,
        licence="CC BY-SA 4.0",
    )  # fmt: skip
    save_checkpoint(model, told, out)


def main() -> None:
    """Train or mix, by the first word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = parser.add_subparsers(dest="way", required=True)
    one = ways.add_parser("train")
    one.add_argument("features", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--steps", type=int, default=140)
    one.add_argument("--stop", type=int, default=10_000, help="end before the rate has come down")
    one.add_argument("--rate", type=float, default=1.5e-4)
    one.add_argument("--body", type=Path, help="weights whose decoder stays, so that clicks and the score alone learn")
    one = ways.add_parser("mix")
    one.add_argument("seeds", type=Path, nargs="+")
    one.add_argument("-o", "--out", type=Path, required=True)
    one.add_argument("--share", type=float, default=0.4)
    one.add_argument("--answers", type=Path, help="a run of clicks and the score alone, which these come from")
    given = parser.parse_args()
    if given.way == "train":
        train(
            given.features,
            given.out,
            seed=given.seed,
            steps=given.steps,
            stop=given.stop,
            rate=given.rate,
            body=given.body,
        )
    else:
        mix(given.seeds, given.out, share=given.share, answers=given.answers)


if __name__ == "__main__":
    main()
