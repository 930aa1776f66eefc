"""The prompts of an evaluation, by their words: noisy boxes, boxes of a fixed margin or shift, boxes over drawn axes, clicks.

Shapes: H rows, W columns of the slice, N targets.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError
from medsam.evaluation.targets import BoxNoise, PromptedTargets, generator_for, prompt_targets
from medsam.imaging.axes import measure_axes
from medsam.imaging.box_options import BoxOptions
from medsam.imaging.boxes import OUTWARD, Boxes, box_from_mask, clip_boxes, fit_box

WORDS = "box, point, axes, margin+20, margin-10, shift20 or clicks5"
FRAME = 1024  # pixels of a picture's side in which margins and shifts are counted, as the paper counts noise
_SPEC = re.compile(
    r"(?:margin(?P<margin>[+-]\d+(?:\.\d+)?)|shift(?P<shift>\d+(?:\.\d+)?)|clicks(?P<clicks>[1-9]\d?)|box|point|axes)"
)


@dataclass(frozen=True)
class PromptSpec:
    """What kind of prompt a target gets.

    Args:
        kind: "box" is the noisy one; "margin" moves every side of the tight box by px, outwards where px is above 0;
            "shift" moves the tight box as a whole by px in a direction drawn by the seed; "axes" is the rectangle over
            the long and the short axis with a margin; "point" is a click on the pixel deepest inside; "clicks" is that
            click and corrections after it, up to as many as rounds.
        px: In pixels of a 1024 x 1024 picture.
        rounds: Of clicks.
    """

    kind: Literal["box", "margin", "shift", "axes", "point", "clicks"]
    px: float = 0.0
    rounds: int = 1


def parse_prompt(text: str) -> PromptSpec:
    """Read the word of a prompt.

    Raises:
        DataError: it is none.
    """
    found = _SPEC.fullmatch(text)
    if found is None:
        raise DataError(f"the prompt {text!r}", expected=WORDS, fix="correct --prompt")
    if found["margin"] is not None:
        return PromptSpec("margin", float(found["margin"]))
    if found["shift"] is not None:
        return PromptSpec("shift", float(found["shift"]))
    if found["clicks"] is not None:
        return PromptSpec("clicks", rounds=int(found["clicks"]))
    kinds: dict[str, PromptSpec] = {"box": PromptSpec("box"), "point": PromptSpec("point"), "axes": PromptSpec("axes")}
    return kinds[text]


def prompt_again(
    masks: Mapping[int, NDArray[np.bool_]], text: str, noise: BoxNoise, *, dataset: str, sample: str, seed: int
) -> PromptedTargets:
    """Give every target of a picture another prompt; its draws depend on the seed, the picture and the prompt alone.

    Args:
        masks: (H, W) bool, none empty, by their number; at least one.
        text: As parse_prompt takes it.
        noise: Of the kind "box".
        dataset: Of the picture.
        sample: Its name.
        seed: Of the run.

    Raises:
        DataError: no such prompt.
    """
    spec = parse_prompt(text)
    rng = generator_for(dataset, sample, seed, zlib.crc32(text.encode()))
    if spec.kind in ("point", "clicks"):
        return prompt_targets(masks, "point", noise, rng)
    if spec.kind == "box":
        return prompt_targets(masks, "box", noise, rng)
    height, width = next(iter(masks.values())).shape
    if spec.kind == "axes":
        return PromptedTargets(masks, boxes_N4=np.stack([_box_over_axes(mask) for mask in masks.values()]))
    tight_N4 = np.stack([box_from_mask(mask) for mask in masks.values()])
    scale_4 = np.array([width, height, width, height]) / FRAME
    if spec.kind == "margin":
        moved_N4 = tight_N4 + spec.px * OUTWARD * scale_4
        return PromptedTargets(masks, boxes_N4=_keep_inside(moved_N4, height, width))
    angle_N = rng.uniform(0, 2 * np.pi, len(tight_N4))
    move_N2 = spec.px * np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1) * scale_4[:2]
    return PromptedTargets(masks, boxes_N4=_keep_inside(tight_N4 + np.tile(move_N2, 2), height, width))


def _box_over_axes(mask_HW: NDArray[np.bool_]) -> NDArray[np.float64]:
    axes = measure_axes(mask_HW, (1.0, 1.0), corners=False)
    ends_42 = np.array([*axes.long_xy, *axes.short_xy])
    margin = BoxOptions().find_margin(mask_HW.shape)
    box = np.concatenate([ends_42.min(axis=0) - margin, ends_42.max(axis=0) + margin])
    kept: NDArray[np.float64] = _keep_inside(box[None], *mask_HW.shape)[0]
    return kept


def _keep_inside(boxes_N4: Boxes, height: int, width: int) -> Boxes:
    """Cut boxes to the slice; one that shrank to nothing keeps a pixel around its middle."""
    limit = (0.0, 0.0, float(width), float(height))
    sorted_N4 = boxes_N4.copy()
    for low, high in ((0, 2), (1, 3)):
        turned = boxes_N4[:, low] > boxes_N4[:, high]
        sorted_N4[turned, low] = sorted_N4[turned, high] = (boxes_N4[turned, low] + boxes_N4[turned, high]) / 2
    return np.array([fit_box((x0, y0, x1, y1), limit) for x0, y0, x1, y1 in clip_boxes(sorted_N4, height, width)])
