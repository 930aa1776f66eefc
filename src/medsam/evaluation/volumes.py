"""Whole volumes with expert masks: asked slice by slice as the paper does, measured by slice and as a whole.

Shapes: D slices, H rows, W columns, N targets of a slice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medsam.errors import IntensityError
from medsam.evaluation.evaluate import (
    OBJECT,
    EvaluationProtocol,
    PromptedPicture,
    ReadPicture,
    find_named_targets,
    name_label,
    prompt_read,
)
from medsam.evaluation.index import UNKNOWN, IndexedPicture
from medsam.evaluation.measure import Answer, Score, Subject, name_unit, score_answer
from medsam.evaluation.targets import PromptedTargets
from medsam.imaging.image import Image
from medsam.imaging.intensity import normalize
from medsam.io.formats import read_image, read_mask

_SLICE = re.compile(r"(.+)\[(\d+)\]")  # the sample of a slice: that of its volume and its number


@dataclass(frozen=True, eq=False)
class ReadVolume:
    """A volume as models get it.

    Args:
        row: Which.
        image: Normalized.
        labels_DHW: Of the expert, on its grid.
    """

    row: IndexedPicture
    image: Image
    labels_DHW: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """(z, y, x); None where the file does not say."""
        return self.image.grid.spacing_mm


@lru_cache(maxsize=1)
def read_volume(row: IndexedPicture) -> ReadVolume:
    """Read a volume and its expert mask; values of 8 bits go to the model as they are, all others by the modality's rule.

    Raises:
        IntensityError: a CT without a window, or values of more than 8 bits of an unknown modality.
        GeometryError: the mask does not lie on the grid of the image.
        InputFileError: a file is missing or damaged.
    """
    image = read_image(row.image)
    if image.values.dtype != np.uint8 or row.window:
        told = None if row.modality == UNKNOWN else row.modality
        try:
            image = normalize(read_image(row.image, modality=told) if told else image, row.window or None)
        except IntensityError as error:
            raise IntensityError(
                f"{row.image}: {error.got}", expected=error.expected,
                fix=f"{error.fix}; medsam evaluate takes --modality and --window, and a list those columns",
            ) from None  # fmt: skip
    return ReadVolume(row, image, read_mask(row.mask, reference=image).labels)


def prompt_slices(volume: ReadVolume, protocol: EvaluationProtocol) -> Iterator[list[PromptedPicture]]:
    """Give the pictures of every slice that has a target, as evaluate.prompt_pictures does; named VOLUME[number]."""
    for number in np.flatnonzero(volume.labels_DHW.any(axis=(1, 2))).tolist():
        pictures = prompt_slice(volume, number, protocol)
        if pictures:
            yield pictures


def prompt_slice(volume: ReadVolume, number: int, protocol: EvaluationProtocol) -> list[PromptedPicture]:
    """Give the pictures of one slice; none where it has no target."""
    row, spacing = volume.row, volume.spacing_mm
    found, labels, names = find_named_targets(volume.labels_DHW[number], row, protocol)
    read = ReadPicture(
        row.dataset, row.modality, f"{row.sample}[{number}]", row.group or row.sample, volume.image.slice_rgb(number),
        found, labels, names, None if spacing is None else spacing[1:], (row.sample, volume.image.grid), number,
    )  # fmt: skip
    return prompt_read(read, protocol)


def split_slice(sample: str) -> tuple[str, int] | None:
    """Give the volume and the number that the name of a slice says; None where it is no slice's."""
    found = _SLICE.fullmatch(sample)
    return None if found is None else (found[1], int(found[2]))


@dataclass
class VolumeAnswers:
    """What one model said to one prompt on the slices of a volume.

    Args:
        volume: Which.
        method: Name of the model.
        prompt: The word of the prompt.
    """

    volume: ReadVolume
    method: str
    prompt: str
    _parts: dict[int, dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = field(default_factory=dict)
    _scores: list[Score] = field(default_factory=list)
    _qualities: dict[int, list[float]] = field(default_factory=dict)
    _faults: dict[int, Counter[str]] = field(default_factory=dict)  # of each label, slices of it by reason

    def add(self, picture: PromptedPicture, scores: Sequence[Score], masks_NHW: NDArray[np.bool_] | None) -> None:
        """Take in the answer to one slice; without masks it is a slice in which nothing was found."""
        self._scores += scores
        labels_HW = self.volume.labels_DHW[picture.number]
        if masks_NHW is None:
            for label in {int(labels_HW[expert][0]) for expert in picture.targets.masks.values()}:
                self._faults.setdefault(label, Counter())[scores[0].fault] += 1
        for place, expert in enumerate(picture.targets.masks.values()):
            found = np.zeros_like(expert) if masks_NHW is None else masks_NHW[place]
            label = int(labels_HW[expert][0])
            slices = self._parts.setdefault(label, {})
            self._qualities.setdefault(label, []).append(scores[place].quality)
            packed = np.packbits(found), np.packbits(expert)
            before = slices.get(picture.number)
            slices[picture.number] = packed if before is None else (before[0] | packed[0], before[1] | packed[1])

    def score(self, *, legacy: bool) -> list[Score]:
        """Measure every label of the volume: the union of its targets, over all slices that were asked.

        Distances are in mm where the spacing is known. A slice without an answer is one in which nothing was found; the
        rows of its labels say so as a fault, beside what was measured.

        Args:
            legacy: NSD as in the released scripts.
        """
        row, spacing = self.volume.row, self.volume.spacing_mm
        subject = Subject(row.dataset, row.modality, row.sample, row.group or row.sample, self.method, self.prompt)
        memory = [s.memory_mb for s in self._scores if not math.isnan(s.memory_mb)]
        rows = []
        for label, slices in sorted(self._parts.items()):
            found_DHW, expert_DHW = self._stack(slices)
            name = OBJECT if row.mask_kind == "instances" else name_label(label, row)
            one = PromptedTargets({label: expert_DHW}, labels={label: label}, names={label: name})
            quality = np.array([np.mean(self._qualities[label])], np.float32)  # NaN where one of them is
            answer = Answer(found_DHW[None], quality, sum(s.seconds for s in self._scores) / len(self._parts))
            (score,) = score_answer(answer, one, subject, hausdorff=True, legacy=legacy, spacing_mm=spacing)
            why = self._faults.get(label, Counter())
            fault = "; ".join(f"{count} of {len(slices)} slices: {reason}" for reason, count in why.items())
            rows.append(
                replace(
                    score, targets=len(self._parts), fault=fault, slices=len(slices), unit=name_unit(spacing),
                    memory_mb=max(memory, default=math.nan),
                )
            )  # fmt: skip
        return rows

    def _stack(
        self, slices: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Found and expert over the slices from the first to the last, (D, H, W)."""
        first, shape_HW = min(slices), self.volume.labels_DHW.shape[1:]
        stacks = np.zeros((2, max(slices) - first + 1, *shape_HW), bool)
        for number, pair in slices.items():
            for stack_DHW, packed in zip(stacks, pair, strict=True):
                stack_DHW[number - first] = np.unpackbits(packed, count=math.prod(shape_HW)).reshape(shape_HW)
        return stacks[0], stacks[1]
