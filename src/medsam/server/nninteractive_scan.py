"""The scan and the one object that a client of nnInteractive works on: what was drawn, the mask so far, the way back.

Shape legend: D, H, W the axes of the client's array; slices may run along any of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError
from medsam.imaging.image import Image, Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.inference.volume.spread import spread
from medsam.progress import Progress
from medsam.server.nninteractive_messages import Bounds
from medsam.server.strokes import settle

MAX_UNDO = 16
MAX_DRAWN = 1000  # prompts that wait for one prediction


@dataclass(frozen=True)
class Drawn:
    """One thing that a user drew.

    Args:
        axis: The array axis of the slices that the prompts mean.
        prompts: Of the object.
        erased: Voxels that are not of the object.
    """

    axis: int
    prompts: tuple[Prompt, ...] = ()
    erased: tuple[Bounds, NDArray[np.bool_]] | None = None


@dataclass(frozen=True, eq=False)
class _Step:
    bounds: Bounds
    before: NDArray[np.uint8]  # packed bits
    shape: tuple[int, ...]


@dataclass(eq=False)
class InteractiveScan:
    """What one lease holds; the caller lets one action after the other in.

    Args:
        image: Normalized; None until the client sent one.
        dtype: Of the client's mask; None until it named one.
        case: Id of the case of the project whose voxels the scan has, for which the time counts.
    """

    image: Image | None = None
    dtype: str | None = None
    case: str | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    axis: int = 0
    mask: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((1, 1, 1), bool))
    _waiting: list[Drawn] = field(default_factory=list)
    _steps: deque[_Step] = field(default_factory=lambda: deque(maxlen=MAX_UNDO))

    def begin(self, image: Image, case: str | None = None) -> None:
        """Take a scan in place of the one before."""
        self.image, self.dtype, self.case = image, None, case
        self.forget()

    def forget(self) -> None:
        """Begin a new object on the same scan."""
        grid = self.ready().grid
        self.mask = np.zeros(grid.shape, bool)
        thickness = grid.spacing_mm or (1.0, 1.0, 1.0)
        self.axis = int(np.argmax(np.round(thickness, 3)))  # the thickest slices, of equals the first
        self._waiting.clear()
        self._steps.clear()

    def ready(self) -> Image:
        """The scan.

        Raises:
            PromptError: there is none yet.
        """
        if self.image is None:
            raise PromptError("no scan yet", expected="set_image first", fix="send the scan")
        return self.image

    def draw(self, drawn: Drawn) -> None:
        """Remember what was drawn until the next prediction.

        Raises:
            PromptError: no scan, no target buffer, or too much.
        """
        self.ready()
        if self.dtype is None:
            raise PromptError("no target buffer yet", expected="set_target_buffer first", fix="name its shape")
        if sum(len(one.prompts) for one in self._waiting) + len(drawn.prompts) > MAX_DRAWN:
            raise PromptError("too many prompts at once", expected=f"at most {MAX_DRAWN}", fix="run the prediction")
        self.axis = drawn.axis
        self._waiting.append(drawn)

    def take_back(self, drawn: Drawn) -> None:
        """Forget what was drawn and could not be answered."""
        self._waiting = [one for one in self._waiting if one is not drawn]

    @property
    def waits(self) -> bool:
        """Whether something was drawn that no prediction has answered."""
        return bool(self._waiting)

    def predict(self, predictor: Predictor, cache: EmbeddingCache, progress: Progress | None = None) -> Bounds | None:
        """Answer all that was drawn since the last prediction.

        Returns:
            The part of the mask that changed.

        Raises:
            PromptError: prompts that the model does not answer; the object stays as it was.
        """
        image, after = self.ready(), self.mask.astype(np.uint8)
        for axis, group in groupby((one for one in self._waiting if one.prompts), key=lambda one: one.axis):
            drawn = [prompt for one in group for prompt in one.prompts]
            prompts = settle(drawn, np.moveaxis(after, axis, 0), clicks="point" in predictor.manifest.prompts)
            if not prompts:
                continue
            found = spread(
                predictor, image, prompts, plane=axis, previous=Mask(after, image.grid), cache=cache, progress=progress
            )  # fmt: skip
            after = found.mask.labels.astype(np.uint8)
        if not after.any() and not self.mask.any():
            raise PromptError(
                "nothing that is inside an object",
                expected="a box, a click or a stroke inside it",
                fix="draw one first",
            )
        for one in self._waiting:
            if one.erased is not None:
                bounds, erased = one.erased
                after[_window(bounds)][erased] = 0
        self._waiting.clear()
        return self.change(after > 0)

    def change(self, after: NDArray[np.bool_]) -> Bounds | None:
        """Take a mask in place of the one before, and remember the way back."""
        bounds = _bounds_of(after != self.mask)
        if bounds is None:
            return None
        before = self.mask[_window(bounds)]
        self._steps.append(_Step(bounds, np.packbits(before), before.shape))
        self.mask = after
        return bounds

    def undo(self) -> tuple[bool, Bounds | None]:
        """Take back what was drawn last, or the last change.

        Returns:
            Whether there was something, and the part of the mask that changed.
        """
        if self._waiting:
            self._waiting.pop()
            return True, None
        if not self._steps:
            return False, None
        step = self._steps.pop()
        count = int(np.prod(step.shape))
        self.mask = self.mask.copy()
        self.mask[_window(step.bounds)] = np.unpackbits(step.before, count=count).reshape(step.shape) > 0
        return True, step.bounds

    def part(self, bounds: Bounds) -> NDArray[np.generic]:
        """A part of the mask in the client's type."""
        return self.mask[_window(bounds)].astype(self.dtype)


def _window(bounds: Bounds) -> tuple[slice, slice, slice]:
    (z0, z1), (y0, y1), (x0, x1) = bounds
    return slice(z0, z1), slice(y0, y1), slice(x0, x1)


def _bounds_of(changed: NDArray[np.bool_]) -> Bounds | None:
    pairs = []
    for axis in range(3):
        hit = np.flatnonzero(changed.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(hit):
            return None
        pairs.append((int(hit[0]), int(hit[-1]) + 1))
    return pairs[0], pairs[1], pairs[2]
