"""Objects onto slices: embeddings in batches, prompts decoded, overlaps settled.

Shape legend: D slices, H rows, W columns, N prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.imaging.image import Image
from medsam.inference.cache import EmbeddingCache
from medsam.inference.embedding import Embedding
from medsam.inference.predictor import Predictor

Box = tuple[float, float, float, float]
Point = tuple[float, float, int]  # x, y, 1 inside or 0 outside
Overlap = Literal["later", "certain"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ObjectPrompt:
    """What was drawn for one object (numbered from 1) on one slice: a box, points, or both."""

    number: int
    box: Box | None = None
    points: tuple[Point, ...] = ()


Plan = Mapping[int, Sequence[ObjectPrompt]]


@dataclass(eq=False)
class Canvas:
    """Object numbers as they are painted; where two objects meet, the later number or the higher logit stays.

    Args:
        numbers_DHW: Where to paint, all 0.
        overlap: "later" or "certain".
        scores: (slice, object number) to score, filled while painting.
    """

    numbers_DHW: np.ndarray
    overlap: Overlap = "later"
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    _logits: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def paint(self, index: int, number: int, logits_HW: NDArray[np.float32], score: float) -> None:
        """Add one object to one slice."""
        plane = self.numbers_DHW[index]
        wins = logits_HW > 0
        if self.overlap == "later":
            wins &= plane < number
        else:
            best = self._logits.setdefault(index, np.full(plane.shape, -np.inf, dtype=np.float32))
            wins &= logits_HW > best
            best[wins] = logits_HW[wins]
        plane[wins] = number
        self.scores[index, number] = score

    def finish(self, index: int) -> None:
        """Forget what is only needed while a slice is painted."""
        self._logits.pop(index, None)


def embedded(
    predictor: Predictor, image: Image, indices: Sequence[int], cache: EmbeddingCache | None
) -> Iterator[tuple[int, Embedding]]:
    """Embed slices in the order given, a batch at a time; no more than a batch is held."""
    for start in range(0, len(indices), predictor.batch_size):
        part = indices[start : start + predictor.batch_size]
        slices = [image.slice_rgb(k) for k in part]
        yield from zip(part, cache.embed(predictor, slices) if cache else predictor.embed_batch(slices), strict=True)


def decoded(
    predictor: Predictor, embedding: Embedding, prompts: Sequence[ObjectPrompt]
) -> Iterator[tuple[ObjectPrompt, NDArray[np.float32], float]]:
    """Decode the objects of a slice, those prompted alike together: the prompt, its logits (H, W) and its score."""
    for has_box, has_points in ((True, False), (False, True), (True, True)):
        alike = [p for p in prompts if (p.box is not None, bool(p.points)) == (has_box, has_points)]
        if not alike:
            continue
        parts = predictor.decode_parts(
            embedding,
            boxes=[p.box for p in alike] if has_box else None,
            points=[[xy[:2] for xy in p.points] for p in alike] if has_points else None,
            point_labels=[[xy[2] for xy in p.points] for p in alike] if has_points else None,
        )
        pairs = (
            (logits, score) for part in parts for logits, score in zip(part.logits_NHW, part.scores_N, strict=True)
        )
        for prompt, (logits, score) in zip(alike, pairs, strict=True):
            yield prompt, logits.cpu().numpy(), float(score)


def segment_slices(
    predictor: Predictor, image: Image, plan: Plan, canvas: Canvas, *, cache: EmbeddingCache | None = None,
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Paint every prompt of a plan; each slice is encoded once.

    Args:
        predictor: A loaded model.
        image: Normalized, with the slices of the plan first.
        plan: Slice to what was drawn on it.
        canvas: Painted in place.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all).
    """
    indices = sorted(k for k in plan if plan[k])
    for done, (k, embedding) in enumerate(embedded(predictor, image, indices, cache), start=1):
        for prompt, logits_HW, score in decoded(predictor, embedding, plan[k]):
            canvas.paint(k, prompt.number, logits_HW, score)
        canvas.finish(k)
        if progress is not None:
            progress(done, len(indices))
