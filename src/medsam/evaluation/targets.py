"""The targets of an expert mask, and the prompt that a model is given for each: a noisy box, or one click.

Shapes: H rows, W columns of the slice, N targets.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.imaging.boxes import Noise, box_from_mask, perturb_boxes
from medsam.imaging.clicks import find_innermost_point

EIGHT = np.ones((3, 3), dtype=bool)  # neighbours that touch by an edge or a corner
MIN_PIXELS = 100  # smaller components of class masks are no targets (released code)
MIN_INSTANCE_PIXELS = 10  # smaller instances are no targets (LiteMedSAM)
MAX_TARGETS = 20  # most of one image: a slide with 500 nuclei would say no more
PromptKind = Literal["box", "point"]


@dataclass(frozen=True)
class BoxNoise:
    """How far a simulated box is from the tight one.

    Args:
        max_px: Largest move of a side, in pixels of a 1024 x 1024 picture (paper, Methods: 0 to 20).
        kind: In which way sides move (imaging.boxes.perturb_boxes).
        max_share: Largest move as a share of the box's width or height; None sets no such limit.
    """

    max_px: float = 20.0
    kind: Noise = "enlarge"
    max_share: float | None = None


@dataclass(frozen=True, eq=False)
class PromptedTargets:
    """Targets of one picture with what a model is given for each of them.

    Args:
        masks: The expert's, (H, W) bool, by their number among all targets of the picture.
        boxes_N4: x0 y0 x1 y1 in slice pixels; None where clicks are given.
        points: A list of (x, y) in slice pixels for each target; None where boxes are given.
        labels: Class id of each target in the expert's label map; 0 where ids are those of instances.
        names: What each target is; none where it is not told.
        point_labels: Of each click 1 (inside) or 0 (outside); None where all are inside.
    """

    masks: Mapping[int, NDArray[np.bool_]]
    boxes_N4: NDArray[np.float64] | None = None
    points: Sequence[Sequence[tuple[float, float]]] | None = None
    labels: Mapping[int, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    point_labels: Sequence[Sequence[int]] | None = None

    def choose(self, numbers: Sequence[int]) -> PromptedTargets:
        """Keep some of the targets, by their numbers, with their prompts."""
        places = [place for place, number in enumerate(self.masks) if number in numbers]
        kept = [number for number in self.masks if number in numbers]
        return PromptedTargets(
            {number: self.masks[number] for number in kept},
            None if self.boxes_N4 is None else self.boxes_N4[places],
            None if self.points is None else [self.points[place] for place in places],
            labels={number: self.labels[number] for number in kept if number in self.labels},
            names={number: self.names[number] for number in kept if number in self.names},
            point_labels=None if self.point_labels is None else [self.point_labels[place] for place in places],
        )


def find_targets(
    labels_HW: np.ndarray,
    mask_kind: str,
    *,
    min_pixels: int = MIN_PIXELS,
    min_instance_pixels: int = MIN_INSTANCE_PIXELS,
) -> list[NDArray[np.bool_]]:
    """Split a mask into its targets, in order of label and place.

    Args:
        labels_HW: Class ids or instance ids, 0 is background.
        mask_kind: "labels", whose connected components are the targets, or "instances".
        min_pixels: Smaller components are no targets.
        min_instance_pixels: Smaller instances are no targets.
    """
    ids = [int(i) for i in np.unique(labels_HW) if i]
    if mask_kind == "instances":
        masks = [labels_HW == i for i in ids]
        return [mask for mask in masks if np.count_nonzero(mask) >= min_instance_pixels]
    targets = []
    for i in ids:
        components, count = ndimage.label(labels_HW == i, structure=EIGHT)
        sizes = np.bincount(components.reshape(-1), minlength=count + 1)
        targets += [components == c for c in range(1, count + 1) if sizes[c] >= min_pixels]
    return targets


def generator_for(dataset: str, sample: str, *seeds: int) -> np.random.Generator:
    """Make the random generator of one picture, which depends on no other picture and on no order.

    Args:
        dataset: Of the picture.
        sample: Its name.
        seeds: Of the run, and of the purpose where one run has several.
    """
    return np.random.default_rng([*seeds, zlib.crc32(f"{dataset}/{sample}".encode())])


def simulate_boxes(
    masks: Sequence[NDArray[np.bool_]], noise: BoxNoise, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Make a noisy box around each mask, (N, 4) x0 y0 x1 y1 in slice pixels.

    Source: paper, Methods, "Training protocol" (box prompt simulated from the expert annotation).
    """
    height, width = masks[0].shape
    tight_N4 = np.stack([box_from_mask(mask) for mask in masks])
    return perturb_boxes(tight_N4, height, width, rng, max_px=noise.max_px, noise=noise.kind, max_share=noise.max_share)


def prompt_targets(
    masks: Mapping[int, NDArray[np.bool_]], prompt: PromptKind, noise: BoxNoise, rng: np.random.Generator
) -> PromptedTargets:
    """Give every target a noisy box, or a click on the pixel deepest inside.

    Args:
        masks: (H, W) bool, none empty, by their number; at least one.
        prompt: "box" or "point".
        noise: Of boxes.
        rng: Of the picture.
    """
    experts = list(masks.values())
    if prompt == "box":
        return PromptedTargets(masks, boxes_N4=simulate_boxes(experts, noise, rng))
    clicks = [find_innermost_point(mask).tolist() for mask in experts]
    return PromptedTargets(masks, points=[[(x, y)] for x, y in clicks])
