"""One image, a list of prompts, one mask: what `medsam segment` and the server call."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medsam.errors import PromptError
from medsam.imaging.image import Image, Mask
from medsam.imaging.prompts import Prompt, place
from medsam.inference.predictor import Embedding, Predictor
from medsam.inference.volume import segment_volume


@dataclass(frozen=True)
class Segmentation:
    """A mask and how it came about.

    Args:
        mask: Labels on the image's grid; where objects overlap the later prompt wins, as in LiteMedSAM.
        scores: One per prompt, in order; None for a 3D box.
        seconds: "encode" and "decode", wall clock.
    """

    mask: Mask
    scores: tuple[float | None, ...]
    seconds: dict[str, float]


def segment_prompts(
    predictor: Predictor, image: Image, prompts: Sequence[Prompt], *, progress: Callable[[int, int], None] | None = None
) -> Segmentation:
    """Segment an image from prompts; every slice is encoded once for all its prompts.

    Args:
        predictor: A loaded model.
        image: Normalized, uint8.
        prompts: At least one; a prompt without a slice belongs to the only slice.
        progress: Called with (slices done, slices in all).

    Raises:
        PromptError: no prompts, a slice that is missing or not there, or a prompt that does not fit the slice.
        IntensityError: the image is not normalized.
    """
    placed = [place(prompt, image.grid.shape[0]) for prompt in prompts]
    if not placed:
        raise PromptError("no prompts", expected="at least one box or point", fix="pass --box, --point or --prompts")
    largest = max(prompt.label for prompt in placed)
    labels = np.zeros(image.grid.shape, dtype=np.uint8 if largest < 256 else np.uint16)
    scores: list[float | None] = [None] * len(placed)
    seconds = {"encode": 0.0, "decode": 0.0}
    flat = [(number, prompt) for number, prompt in enumerate(placed) if prompt.box_3d is None]
    slices = sorted({prompt.slice for _, prompt in flat if prompt.slice is not None})
    for done, index in enumerate(slices, start=1):
        here = [(number, prompt) for number, prompt in flat if prompt.slice == index]
        for number, mask_HW, score in _decode_slice(predictor, image, index, here, seconds):
            labels[index][mask_HW] = placed[number].label
            scores[number] = score
        if progress is not None:
            progress(done, len(slices))
    _add_3d_boxes(predictor, image, placed, labels, seconds)
    return Segmentation(Mask(labels, image.grid), tuple(scores), seconds)


def _decode_slice(
    predictor: Predictor, image: Image, index: int, prompts: list[tuple[int, Prompt]], seconds: dict[str, float]
) -> list[tuple[int, np.ndarray, float]]:
    start = time.perf_counter()
    embedding = predictor.embed(image.slice_rgb(index))
    encoded = time.perf_counter()
    results = []
    plain = [(number, prompt) for number, prompt in prompts if prompt.box is not None and not prompt.points]
    if plain:
        masks_NHW, scores_N = predictor.decode(embedding, boxes=[prompt.box for _, prompt in plain])
        results = [
            (number, mask, float(score)) for (number, _), mask, score in zip(plain, masks_NHW, scores_N, strict=True)
        ]
    results += [_decode_points(predictor, embedding, number, prompt) for number, prompt in prompts if prompt.points]
    seconds["encode"] += encoded - start
    seconds["decode"] += time.perf_counter() - encoded
    return sorted(results, key=lambda result: result[0])


def _decode_points(
    predictor: Predictor, embedding: Embedding, number: int, prompt: Prompt
) -> tuple[int, np.ndarray, float]:
    masks_NHW, scores_N = predictor.decode(
        embedding,
        boxes=[prompt.box] if prompt.box is not None else None,
        points=[list(prompt.points)],
        point_labels=[list(prompt.point_labels)],
    )
    return number, masks_NHW[0], float(scores_N[0])


def _add_3d_boxes(
    predictor: Predictor, image: Image, prompts: list[Prompt], labels: np.ndarray, seconds: dict[str, float]
) -> None:
    deep = [prompt for prompt in prompts if prompt.box_3d is not None]
    if not deep:
        return
    start = time.perf_counter()
    mask = segment_volume(predictor, image, box3d=[prompt.box_3d for prompt in deep if prompt.box_3d is not None])
    for number, prompt in enumerate(deep, start=1):
        labels[mask.labels == number] = prompt.label
    seconds["decode"] += time.perf_counter() - start
