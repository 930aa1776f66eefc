"""The one way to measure a model: a picture and its prompted targets in, one Score a target out.

Where a model gave no answer, its targets get a Score with the reason: Dice and NSD 0, an infinite distance, so that the
case counts in every table.

Shapes: H rows, W columns of the slice, N targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError
from medsam.evaluation.metrics import (
    dice,
    iou,
    measure_surfaces,
    normalized_surface_distance,
    precision,
    recall,
    volume_error,
)
from medsam.evaluation.targets import PromptedTargets

E = TypeVar("E")  # whatever a Segmenter makes of a picture once for all its prompts


class Segmenter(Protocol[E]):
    """What evaluation asks of a model; a Predictor is one, and so is a comparator whose embedding is the picture."""

    def embed(self, slice_rgb: NDArray[np.uint8], /) -> E:
        """Take in one picture, (H, W, 3) uint8."""
        ...

    def decode(
        self,
        embedding: E,
        /,
        *,
        boxes: NDArray[np.float64] | None = None,
        points: Sequence[Sequence[tuple[float, float]]] | None = None,
        point_labels: Sequence[Sequence[int]] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Answer N prompts, in slice pixels: masks (N, H, W) bool and scores (N,)."""
        ...


@dataclass(frozen=True)
class Subject:
    """What is measured on what.

    Args:
        dataset: Name of the data set.
        modality: Of the picture.
        sample: Name of the picture.
        group: Patient, scan or slide; "" where it is not known.
        method: Name of the model.
        prompt: The word of the prompt.
    """

    dataset: str
    modality: str
    sample: str
    group: str
    method: str
    prompt: str = "box"


@dataclass(frozen=True)
class Score:
    """One target measured.

    Args:
        dataset: Name of the data set.
        modality: Of the data set.
        sample: Name of the picture.
        group: Patient, scan or slide; "" where it is not known.
        target: Number of the target among all targets of the picture, from 0.
        targets: How many targets of the picture were measured.
        pixels: Size of the expert mask.
        method: Name of the model.
        dice: Of the target.
        nsd: At 2 mm where the spacing is known, at 2 pixels otherwise.
        seconds: Encoding and decoding of the picture, shared among its targets.
        name: What the target is, as "liver"; "" where it is not told.
        iou: Of the target.
        precision: Share of the found mask that is right.
        recall: Share of the expert's mask that was found.
        hd95: 95 % Hausdorff distance in its unit; infinite where nothing was found, NaN where it was not measured.
        volume_error: Of the area, (found - expert) / expert.
        quality: The model's own score of its mask; NaN where it gives none.
        fault: Why there is no answer; "" where there is one.
        prompt: The word of the prompt (prompting.parse_prompt).
        memory_mb: Most memory while the picture was answered, of the GPU where one is in use, else of the process; NaN
            where the system does not tell.
        agreement: Dice of the mask with the model's own answer to the first prompt; NaN for the first prompt itself.
        unit: Of distances: "mm" where the spacing is known, "px" otherwise.
        slices: Of a whole volume, how many of its slices were asked; 0 for a picture or a slice.
    """

    dataset: str
    modality: str
    sample: str
    group: str
    target: int
    targets: int
    pixels: int
    method: str
    dice: float
    nsd: float
    seconds: float
    name: str = ""
    iou: float = math.nan
    precision: float = math.nan
    recall: float = math.nan
    hd95: float = math.nan
    volume_error: float = math.nan
    quality: float = math.nan
    fault: str = ""
    prompt: str = "box"
    memory_mb: float = math.nan
    agreement: float = math.nan
    unit: str = "px"
    slices: int = 0


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model said to the prompts of one picture.

    Args:
        masks_NHW: (N, H, W) bool, in the order of the targets.
        scores_N: (N,) the model's own score of each mask; NaN where it gives none.
        seconds: For the whole picture.
    """

    masks_NHW: NDArray[np.bool_]
    scores_N: NDArray[np.float32]
    seconds: float


def measure_picture(
    segmenter: Segmenter[E], slice_rgb: NDArray[np.uint8], targets: PromptedTargets, subject: Subject
) -> tuple[list[Score], NDArray[np.bool_]]:
    """Measure one picture: one embedding, the prompts of all its targets in one decode.

    Args:
        segmenter: The model.
        slice_rgb: (H, W, 3) uint8.
        targets: At least one.
        subject: Names for the scores.

    Returns:
        One Score a target, and the masks found, (N, H, W) bool.
    """
    answer = segment_targets(segmenter, slice_rgb, targets)
    return score_answer(answer, targets, subject), answer.masks_NHW


def segment_targets(segmenter: Segmenter[E], slice_rgb: NDArray[np.uint8], targets: PromptedTargets) -> Answer:
    """Ask a model for all targets of a picture: one embedding, one decode."""
    start = time.perf_counter()
    return decode_targets(segmenter, segmenter.embed(slice_rgb), targets, start)


def decode_targets(segmenter: Segmenter[E], embedding: E, targets: PromptedTargets, start: float) -> Answer:
    """Ask a model for all targets of a picture that is embedded already; start is the perf_counter of the question."""
    if targets.points is None:
        masks_NHW, scores_N = segmenter.decode(embedding, boxes=targets.boxes_N4)
    else:
        labels = targets.point_labels or [[1] * len(clicks) for clicks in targets.points]
        masks_NHW, scores_N = segmenter.decode(embedding, points=targets.points, point_labels=labels)
    return Answer(masks_NHW, scores_N, time.perf_counter() - start)


def score_answer(
    answer: Answer, targets: PromptedTargets, subject: Subject, *, hausdorff: bool = False, legacy: bool = False,
    spacing_mm: tuple[float, ...] | None = None,
) -> list[Score]:  # fmt: skip
    """Measure the masks of one picture, one Score a target.

    Args:
        answer: Of the model.
        targets: What was asked for.
        subject: Names for the scores.
        hausdorff: Measure that distance too, which takes as long as all other measures together.
        legacy: NSD as in the released scripts.
        spacing_mm: Of the slice, (y, x); None where it is not known.

    Raises:
        GeometryError: another number of masks than of targets, or masks of another size than the picture.
    """
    experts = list(targets.masks.values())
    wanted = (len(experts), *experts[0].shape)
    masks_NHW = np.asarray(answer.masks_NHW)
    if masks_NHW.shape != wanted or len(answer.scores_N) != len(experts):
        raise GeometryError(
            f"masks of shape {masks_NHW.shape}", expected=f"{wanted}", fix="answer every prompt on the picture's grid"
        )
    seconds = answer.seconds / len(experts)
    surfaces = [
        _measure_distances(*pair, hausdorff=hausdorff, legacy=legacy, spacing_mm=spacing_mm)
        for pair in zip(masks_NHW, experts, strict=True)
    ]
    return [
        Score(
            dataset=subject.dataset, modality=subject.modality, sample=subject.sample, group=subject.group,
            target=number, targets=len(experts), pixels=int(np.count_nonzero(expert)), method=subject.method,
            dice=dice(found, expert), nsd=nsd, seconds=seconds,
            name=targets.names.get(number, ""), iou=iou(found, expert), precision=precision(found, expert),
            recall=recall(found, expert), hd95=hd95,
            volume_error=volume_error(found, expert), quality=math.nan if math.isnan(score) else float(score),
            prompt=subject.prompt, unit=name_unit(spacing_mm),
        )
        for (number, expert), found, score, (nsd, hd95) in zip(
            targets.masks.items(), masks_NHW, answer.scores_N, surfaces, strict=True
        )
    ]  # fmt: skip


def _measure_distances(
    found: NDArray[np.bool_], expert: NDArray[np.bool_], *, hausdorff: bool, legacy: bool,
    spacing_mm: tuple[float, ...] | None,
) -> tuple[float, float]:  # fmt: skip
    if hausdorff:
        return measure_surfaces(found, expert, legacy=legacy, spacing_mm=spacing_mm)
    return normalized_surface_distance(found, expert, legacy=legacy, spacing_mm=spacing_mm), math.nan


def name_unit(spacing_mm: tuple[float, ...] | None) -> str:
    """Name the unit of distances."""
    return "px" if spacing_mm is None else "mm"


def score_fault(
    reason: str, targets: PromptedTargets, subject: Subject, seconds: float, *, unit: str = "px"
) -> list[Score]:
    """Give the worst Score to every target of a picture to which a model gave no answer.

    Args:
        reason: Why; not empty.
        targets: What was asked for.
        subject: Names for the scores.
        seconds: Until the model gave up.
        unit: Of distances, as those of the other rows.
    """
    return [
        Score(
            dataset=subject.dataset, modality=subject.modality, sample=subject.sample, group=subject.group,
            target=number, targets=len(targets.masks), pixels=int(np.count_nonzero(expert)), method=subject.method,
            dice=0.0, nsd=0.0, seconds=seconds / len(targets.masks), name=targets.names.get(number, ""), iou=0.0,
            precision=0.0, recall=0.0, hd95=math.inf, volume_error=-1.0, fault=reason, prompt=subject.prompt,
            unit=unit,
        )
        for number, expert in targets.masks.items()
    ]  # fmt: skip
