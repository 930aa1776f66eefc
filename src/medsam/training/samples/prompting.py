"""Prompts of a target other than its box: clicks, spoiled masks, and the clicks that correct an answer.

Shapes: T targets, P clicks of a target, S side of the model frame, h w of the decoder's logits. Points are x, y in
pixels of the model frame; labels as the prompt encoder's: 1 in the object, 0 outside, -1 filling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage
from torch import Tensor

from medsam.evaluation.targets import EIGHT
from medsam.imaging.clicks import find_innermost_point
from medsam.imaging.frame import Frame
from medsam.inference.prompts import PADDING
from medsam.training.config import TrainConfig

CORE = 0.75  # chance of a first click in the core of a target, where the depth is half of the largest or more
SPOILED = 0.3  # largest move of a spoiled mask's border, as a share of the target's depth


class Shown(NamedTuple):
    """What a model is shown of a target; targets that are shown the same can be decoded together."""

    box: bool = True
    clicks: int = 0
    mask: bool = False


@dataclass(frozen=True, eq=False)
class TargetPrompts:
    """What the T targets of a batch are shown beside their boxes.

    Args:
        shown: Of each target.
        points_TP2: float32; target t has shown[t].clicks of them, the rest is filling.
        labels_TP: int64.
        masks_TSS: uint8, 0 or 1, a mask to start from in the model frame; None where no target is shown one.
        logits_T1hw: The answer before, which takes the place of masks_TSS.
    """

    shown: tuple[Shown, ...]
    points_TP2: Tensor
    labels_TP: Tensor
    masks_TSS: Tensor | None = None
    logits_T1hw: Tensor | None = None

    def to(self, device: torch.device) -> TargetPrompts:
        """The same on another device."""
        return replace(
            self,
            points_TP2=self.points_TP2.to(device),
            labels_TP=self.labels_TP.to(device),
            masks_TSS=None if self.masks_TSS is None else self.masks_TSS.to(device),
        )


def show_boxes_only(targets: int, device: torch.device) -> TargetPrompts:
    """Nothing but boxes, as in the paper."""
    labels_T0 = torch.zeros(targets, 0, dtype=torch.long, device=device)
    return TargetPrompts((Shown(),) * targets, torch.zeros(targets, 0, 2, device=device), labels_T0)


def join_prompts(parts: Sequence[TargetPrompts]) -> TargetPrompts:
    """Those of several images, made by one configuration."""
    masks = [part.masks_TSS for part in parts if part.masks_TSS is not None]
    return TargetPrompts(
        shown=tuple(one for part in parts for one in part.shown),
        points_TP2=torch.cat([part.points_TP2 for part in parts]),
        labels_TP=torch.cat([part.labels_TP for part in parts]),
        masks_TSS=torch.cat(masks) if masks else None,
    )


def simulate_prompts(
    masks: Sequence[NDArray[np.bool_]], frame: Frame, config: TrainConfig, rng: np.random.Generator
) -> TargetPrompts:
    """Draw a kind of prompt for each target, and its clicks or its spoiled mask.

    Args:
        masks: (H, W) bool each, in slice pixels.
        frame: In which the model sees the slice.
        config: Which kinds, and how many clicks at most.
        rng: Where all choices come from.
    """
    shown = []
    points_TP2 = np.zeros((len(masks), config.clicks, 2))
    labels_TP = np.full((len(masks), config.clicks), PADDING, dtype=np.int64)
    hints_TSS = np.zeros((len(masks), frame.size, frame.size), np.uint8) if "mask" in config.prompts else None
    for t, mask in enumerate(masks):
        kind = config.prompts[int(rng.integers(len(config.prompts)))]
        with_mask = hints_TSS is not None and kind == "mask"
        by_box = kind == "box" or (with_mask and "box" in config.prompts)
        if hints_TSS is not None and with_mask:
            hints_TSS[t] = frame.mask_to_model(spoil_mask(mask, rng))
        clicks = 0 if by_box else int(rng.integers(config.clicks)) + 1
        for i, (point, label) in enumerate(place_clicks(mask, clicks, rng)):
            points_TP2[t, i], labels_TP[t, i] = point, label
        shown.append(Shown(by_box, clicks, with_mask))
    return TargetPrompts(
        shown=tuple(shown),
        points_TP2=torch.from_numpy(frame.points_to_model(points_TP2)),
        labels_TP=torch.from_numpy(labels_TP),
        masks_TSS=None if hints_TSS is None else torch.from_numpy(hints_TSS),
    )


def place_clicks(
    mask_HW: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> list[tuple[tuple[float, float], int]]:
    """Clicks of a reader: the first well inside; any other inside, or as often beside the target.

    Args:
        mask_HW: The target, not empty.
        count: How many clicks.
        rng: Where all choices come from.

    Returns:
        For each click x and y in slice pixels, and 1 inside or 0 outside.
    """
    if not count:
        return []
    found = [(_any_of(_core(mask_HW) if rng.random() < CORE else mask_HW, rng), 1)]
    beside = _beside(mask_HW)
    for _ in range(count - 1):
        outside = bool(rng.random() < 0.5) and bool(beside.any())
        found.append((_any_of(beside if outside else mask_HW, rng), 0 if outside else 1))
    return found


def _any_of(mask_HW: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    places = np.flatnonzero(mask_HW)
    y, x = divmod(int(places[rng.integers(len(places))]), mask_HW.shape[1])
    return float(x), float(y)


def _around(mask_HW: NDArray[np.bool_], margin_px: int) -> tuple[slice, slice]:
    """The rows and columns of a mask with some more on every side, as far as the slice goes."""
    (rows, columns) = ndimage.find_objects(mask_HW.astype(np.uint8))[0]
    return (
        slice(max(0, rows.start - margin_px), rows.stop + margin_px),
        slice(max(0, columns.start - margin_px), columns.stop + margin_px),
    )


def _core(mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    near = _around(mask_HW, 0)
    depths = ndimage.distance_transform_edt(np.pad(mask_HW[near], 1))[1:-1, 1:-1]
    core = np.zeros_like(mask_HW)
    core[near] = depths >= depths.max() / 2
    return core


def _beside(mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The background in the target's box and a tenth of its longer side around it."""
    rows, columns = _around(mask_HW, 0)
    margin_px = max(1, max(rows.stop - rows.start, columns.stop - columns.start) // 10)
    near = _around(mask_HW, margin_px)
    beside = np.zeros_like(mask_HW)
    beside[near] = ~mask_HW[near]
    return beside


def spoil_mask(mask_HW: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask as a model or a hurried reader would have left it: its border moved in and out, smoothly, at random."""
    near = _around(mask_HW, 0)
    depth = float(ndimage.distance_transform_edt(np.pad(mask_HW[near], 1)).max())
    near = _around(mask_HW, int(np.ceil(SPOILED * depth)) + 1)
    crop = np.pad(mask_HW[near], 1)
    border = (ndimage.distance_transform_edt(crop) - ndimage.distance_transform_edt(~crop))[1:-1, 1:-1]
    field = Picture.fromarray(rng.uniform(-1, 1, (5, 5)).astype(np.float32))
    height, width = border.shape
    moves = np.asarray(field.resize((width, height), Picture.Resampling.BILINEAR)) * (SPOILED * depth)
    moved = np.zeros_like(mask_HW)
    moved[near] = border > moves
    return moved if moved.any() else mask_HW


def correct_prompts(
    prompts: TargetPrompts, logits_T1hw: Tensor, *, found_TSS: Tensor, masks_TSS: Tensor, inside_TSS: Tensor
) -> TargetPrompts:
    """What targets are shown after an answer: it itself, and one click more, where it is wrong most.

    Args:
        prompts: That led to the answer.
        logits_T1hw: The answer.
        found_TSS: The same in the model frame, bool.
        masks_TSS: Expert masks.
        inside_TSS: Above 0 where the frame shows the image; padding is never wrong.

    Source: Kirillov et al., "Segment Anything", arXiv:2304.02643, appendix A (training algorithm).
    """
    inside, wanted = inside_TSS > 0, masks_TSS > 0
    missed = (wanted & ~found_TSS & inside).cpu().numpy()
    surplus = (found_TSS & ~wanted & inside).cpu().numpy()
    clicks = [find_correction(one, other) for one, other in zip(missed, surplus, strict=True)]
    device = prompts.points_TP2.device
    new_T2 = torch.tensor([[x, y] for x, y, _ in clicks], dtype=torch.float32, device=device)
    new_T = torch.tensor([label for _, _, label in clicks], device=device)
    targets = torch.arange(len(clicks), device=device)
    places = torch.tensor([one.clicks for one in prompts.shown], device=device)
    points_TP2 = torch.cat([prompts.points_TP2, prompts.points_TP2.new_zeros(len(clicks), 1, 2)], dim=1)
    labels_TP = torch.cat([prompts.labels_TP, prompts.labels_TP.new_full((len(clicks), 1), PADDING)], dim=1)
    points_TP2[targets, places] = new_T2
    labels_TP[targets, places] = new_T
    shown = tuple(Shown(one.box, one.clicks + 1, True) for one in prompts.shown)
    return TargetPrompts(shown, points_TP2, labels_TP, logits_T1hw=logits_T1hw)


def find_correction(missed_SS: NDArray[np.bool_], surplus_SS: NDArray[np.bool_]) -> tuple[float, float, int]:
    """The click that corrects most: deepest inside the largest connected error, and its label.

    Args:
        missed_SS: Where the target is and the answer is not.
        surplus_SS: Where the answer is and the target is not.

    Returns:
        x and y, and 1 for what was missed, 0 for what is too much; -1, a filling, where nothing is wrong.
    """
    largest, click = 0, (0.0, 0.0, PADDING)
    for error_SS, label in ((missed_SS, 1), (surplus_SS, 0)):
        components, count = ndimage.label(error_SS, structure=EIGHT)
        if not count:
            continue
        sizes = np.bincount(components.reshape(-1))[1:]
        k = int(np.argmax(sizes))
        if sizes[k] > largest:
            near = ndimage.find_objects(components)[k]
            x, y = find_innermost_point(components[near] == k + 1)
            largest, click = int(sizes[k]), (float(x + near[1].start), float(y + near[0].start), label)
    return click


class TargetGroup(NamedTuple):
    """Targets that one decode can do."""

    images: tuple[int, ...]  # one for all, or one for each
    targets: tuple[int, ...]
    shown: Shown


def group_targets(counts: Sequence[int], shown: Sequence[Shown]) -> list[TargetGroup]:
    """Divide targets by what they are shown and, where an image has several, by image.

    Args:
        counts: Targets of each image.
        shown: Of each target.
    """
    images = [image for image, count in enumerate(counts) for _ in range(count)]
    single = all(count == 1 for count in counts)
    members: dict[tuple[int, Shown], list[int]] = {}
    for target, (image, what) in enumerate(zip(images, shown, strict=True)):
        members.setdefault((0 if single else image, what), []).append(target)
    return [
        TargetGroup(tuple(targets) if single else (image,), tuple(targets), what)
        for (image, what), targets in members.items()
    ]
