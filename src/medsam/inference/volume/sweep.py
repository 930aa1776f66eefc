"""The one loop over slices: each is encoded once for all tracks, upwards and then downwards.

Shape legend: H rows, W columns, N prompts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import groupby, islice

import numpy as np
from numpy.typing import NDArray

from medsam.imaging.boxes import Box, box_from_mask
from medsam.imaging.image import Image, Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.embedding import Embedding
from medsam.inference.predictor import Predictor
from medsam.inference.volume.canvas import Canvas
from medsam.inference.volume.tracks import Track
from medsam.progress import Progress

KEPT_SLICES = 64  # embeddings held in memory between the two sweeps, 4 MiB each; beyond that they go to a folder


@dataclass(frozen=True, eq=False)
class Trace:
    """What became of a track.

    Args:
        boxes: Slice to the box the model got, where it got one.
        scores: Slice to score.
    """

    boxes: dict[int, Box] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)


@dataclass(eq=False)
class Sweep:
    """One run over an image.

    Args:
        predictor: A loaded model.
        image: Normalized, with the slices of the tracks first.
        tracks: In the order that decides overlaps.
        canvas: Painted in place.
        previous: A mask on the same slices that points correct.
        cache: Embeddings from before, and for later.
        progress: Called with (slices done, slices in all); a slice that both sweeps need counts twice.
    """

    predictor: Predictor
    image: Image
    tracks: Sequence[Track]
    canvas: Canvas
    previous: Mask | None = None
    cache: EmbeddingCache | None = None
    progress: Progress | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"encode": 0.0, "decode": 0.0})

    def __post_init__(self) -> None:
        self.traces = [Trace() for _ in self.tracks]
        self._beside: dict[tuple[int, bool], Box] = {}  # track and direction -> the box for its next slice
        self._over: set[int] = set()  # tracks that ended before anything was painted

    def run(self) -> list[Trace]:
        """Paint every track on every slice it reaches."""
        up, down = self._visits(upwards=True), self._visits(upwards=False)
        for k in [k for k in up if k in down]:  # a track that follows nothing needs a slice in one sweep only
            still = [i for i in up[k] if self.tracks[i].follow is None]
            up[k], down[k] = [i for i in up[k] if i not in still], down[k] + still
            if not up[k]:
                del up[k]
        shared = set(up) & set(down)
        total, done = len(up) + len(down), 0
        with ExitStack() as stack:
            if self.cache is None and len(shared) > KEPT_SLICES:
                self.cache = EmbeddingCache(stack.enter_context(tempfile.TemporaryDirectory()), max_bytes=2**62)
            kept: dict[int, Embedding] = {}
            for upwards, visits in ((True, up), (False, down)):
                for k, embedding in self._embedded(visits, kept, upwards=upwards):
                    if embedding is not None:
                        self._decode(k, embedding, visits[k], upwards=upwards)
                    if upwards and k in shared and embedding is not None:
                        kept |= {k: embedding} if self.cache is None else {}
                    else:
                        self.canvas.close(k)
                    done += 1
                    if self.progress is not None:
                        self.progress(done, total)
        return self.traces

    def _visits(self, *, upwards: bool) -> dict[int, list[int]]:
        """Slice to the numbers of the tracks that reach it in one direction."""
        visits: dict[int, list[int]] = {}
        for i, track in enumerate(self.tracks):
            for k in track.upwards if upwards else track.downwards:
                visits.setdefault(k, []).append(i)
        return visits

    def _embedded(
        self, visits: Mapping[int, Sequence[int]], kept: dict[int, Embedding], *, upwards: bool
    ) -> Iterator[tuple[int, Embedding | None]]:
        """Embeddings of slices in order, fresh ones a batch at a time; kept ones are handed out and dropped.

        None for a slice that no track reaches any more.
        """
        indices = sorted(visits, reverse=not upwards)
        step, batch = self.predictor.batch_size, dict[int, Embedding]()
        for n, k in enumerate(indices):
            if not self._live(k, visits[k], upwards=upwards):
                batch.pop(k, None)
                kept.pop(k, None)
                yield k, None
                continue
            if k in kept:
                yield k, kept.pop(k)
                continue
            if k not in batch:
                ahead = (j for j in indices[n:] if j not in kept and self._live(j, visits[j], upwards=upwards))
                part = list(islice(ahead, step))
                start = time.perf_counter()
                slices = [self.image.slice_rgb(j) for j in part]
                found = self.cache.embed(self.predictor, slices) if self.cache else self.predictor.embed_batch(slices)
                batch |= zip(part, found, strict=True)
                self.seconds["encode"] += time.perf_counter() - start
            yield k, batch.pop(k)

    def _live(self, k: int, numbers: Sequence[int], *, upwards: bool) -> bool:
        return any(self._reaches(i, k, upwards=upwards) for i in numbers)

    def _reaches(self, i: int, k: int, *, upwards: bool) -> bool:
        """Whether a track has a prompt on a slice, a mask beside it, or is still to begin."""
        begun = bool(self.traces[i].scores) or i in self._over
        return k in self.tracks[i].given or (i, upwards) in self._beside or not begun

    def _decode(self, k: int, embedding: Embedding, numbers: Sequence[int], *, upwards: bool) -> None:
        start = time.perf_counter()
        numbers = [i for i in numbers if self._reaches(i, k, upwards=upwards)]
        for i, box, logits_HW, score in self._answers(k, embedding, numbers, upwards=upwards):
            track, trace = self.tracks[i], self.traces[i]
            confined_HW = logits_HW if track.limit is None else _confined(logits_HW, track.limit)
            directions = {True, False} if k == track.start else {upwards}
            found_HW = confined_HW > 0
            if track.least_share and score < track.least_share * max(trace.scores.values(), default=0.0):
                found_HW = np.zeros_like(found_HW)
            goes_on = self._go_on(i, found_HW, embedding, box, directions)
            if not goes_on and not (track.sure and k in track.given):
                self._over.add(i)
                continue  # what was found there is no longer the object
            self.canvas.paint(k, track.label, confined_HW, rank=i + 1)
            trace.scores[k] = score
            if box is not None:
                trace.boxes[k] = box
        self.seconds["decode"] += time.perf_counter() - start

    def _answers(
        self, k: int, embedding: Embedding, numbers: Sequence[int], *, upwards: bool
    ) -> Iterator[tuple[int, Box | None, NDArray[np.float32], float]]:
        """Number of a track, the box it asked with, logits (H, W) and score: the mean of two where it has a second box."""
        asked, owners = [], []
        for i in numbers:
            asked.append(self._asked(i, k, upwards=upwards))
            owners.append(i)
            second = self.tracks[i].also.get(k)
            if second is not None and second != asked[-1][0].box:
                asked.append((Prompt(label=self.tracks[i].label, slice=k, box=second), None))
                owners.append(i)
        waiting: dict[int, tuple[NDArray[np.float32], float]] = {}
        for n, logits_HW, score in decode_slice(self.predictor, embedding, asked):
            i = owners[n]
            box = asked[owners.index(i)][0].box
            if owners.count(i) == 1:
                yield i, box, logits_HW, score
            elif i in waiting:
                other_HW, other = waiting.pop(i)
                yield i, box, (logits_HW + other_HW) / np.float32(2), (score + other) / 2
            else:
                waiting[i] = logits_HW, score

    def _go_on(
        self, i: int, mask_HW: NDArray[np.bool_], embedding: Embedding, box: Box | None, directions: set[bool]
    ) -> bool:  # fmt: skip
        """Lay the box for the next slice; False where the track has ended."""
        follow = self.tracks[i].follow
        if follow is None:
            return True
        if box is None and mask_HW.any():  # clicks alone
            x0, y0, x1, y1 = (float(v) for v in box_from_mask(mask_HW))
            box = x0, y0, x1, y1
        following = None if box is None else follow(mask_HW, embedding.frame, box)
        for direction in directions:
            self._beside.pop((i, direction), None)
            if following is not None:
                self._beside[i, direction] = following
        return following is not None

    def _asked(self, i: int, k: int, *, upwards: bool) -> tuple[Prompt, NDArray[np.bool_] | None]:
        """What a track asks on a slice: its prompt there, or the box beside; clicks start from the previous mask."""
        track = self.tracks[i]
        prompt = track.given.get(k) or Prompt(label=track.label, slice=k, box=self._beside[i, upwards])
        before = None if self.previous is None or not prompt.points else self.previous.labels[k] == track.label
        if before is None or not before.any():
            return prompt, None
        if "mask" in self.predictor.manifest.prompts:
            return prompt, before
        return replace(prompt, box=prompt.box or _box_around(before, prompt)), None


def _box_around(mask_HW: NDArray[np.bool_], prompt: Prompt) -> Box:
    """The box of a mask, wide enough to hold the clicks that lie inside the object."""
    x0, y0, x1, y1 = box_from_mask(mask_HW)
    inside = [xy for xy, sign in zip(prompt.points, prompt.point_labels, strict=True) if sign]
    xs, ys = [x0, x1, *(x for x, _ in inside)], [y0, y1, *(y for _, y in inside)]
    return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))


def _confined(logits_HW: NDArray[np.float32], limit: Box) -> NDArray[np.float32]:
    """The same logits inside a box, nothing outside; a pixel lies where its centre does."""
    x0, y0, x1, y1 = limit
    window = (slice(int(np.ceil(y0)), int(y1) + 1), slice(int(np.ceil(x0)), int(x1) + 1))
    inside = np.full_like(logits_HW, -np.inf)
    inside[window] = logits_HW[window]
    return inside


def decode_slice(
    predictor: Predictor, embedding: Embedding, asked: Sequence[tuple[Prompt, NDArray[np.bool_] | None]]
) -> Iterator[tuple[int, NDArray[np.float32], float]]:
    """Decode prompts of a slice, those made of the same parts together.

    Args:
        predictor: Of the embedding.
        embedding: Of the slice.
        asked: Prompts with a box, points or both, and a previous mask (H, W) or None.

    Yields:
        Number of the prompt, its logits (H, W) in slice pixels, its score.
    """

    def parts(n: int) -> tuple[bool, bool, bool]:
        prompt, mask = asked[n]
        return bool(prompt.points), prompt.box is not None, mask is not None

    for (points, box, mask), group in groupby(sorted(range(len(asked)), key=parts), key=parts):
        alike = list(group)
        prompts = [asked[n][0] for n in alike]
        decoded = predictor.decode_parts(
            embedding,
            boxes=[p.box for p in prompts] if box else None,
            points=[list(p.points) for p in prompts] if points else None,
            point_labels=[list(p.point_labels) for p in prompts] if points else None,
            mask=np.stack([m for n in alike if (m := asked[n][1]) is not None]) if mask else None,
        )
        pairs = (pair for part in decoded for pair in zip(part.logits_NHW, part.scores_N, strict=True))
        for n, (logits_HW, score) in zip(alike, pairs, strict=True):
            yield n, logits_HW.cpu().numpy(), float(score)
