"""Pictures with their targets and prompts, drawn once and put to every model alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError
from medsam.evaluation.index import IndexedPicture, read_picture
from medsam.evaluation.prompting import parse_prompt, prompt_again
from medsam.evaluation.stored import StoredPicture, read_stored
from medsam.evaluation.targets import (
    MAX_TARGETS,
    MIN_INSTANCE_PIXELS,
    MIN_PIXELS,
    BoxNoise,
    PromptedTargets,
    find_targets,
    generator_for,
    prompt_targets,
)
from medsam.imaging.boxes import Noise
from medsam.imaging.image import Grid

OBJECT = "object"  # what a target of an instance mask is


@dataclass(frozen=True)
class EvaluationProtocol:
    """How targets are chosen and prompted.

    Args:
        split: Rows to take of an index or a store; None takes all.
        noise_px: Largest move of a box side, in pixels of a 1024 x 1024 picture (paper, Methods: 0 to 20).
        noise: "enlarge" moves sides outwards only, as the released training does; "both" moves them either way.
        seed: Of the noise and of the choice of targets.
        min_pixels: Smaller components of class masks are no targets (released code: 100).
        min_instance_pixels: Smaller instances are no targets (LiteMedSAM: 10).
        max_targets: Most targets of one image, chosen at random; None takes all.
        prompts: One or more words of prompting.parse_prompt; the tables are about the first.
        tasks: Patterns of "DATASET/TARGET", or of "DATASET" alone, that are measured; none measures all.
        nsd: "surface" as published, or "legacy": 0 where Dice is at most 0.2, as in the released scripts.
        modality: Of data sets that do not tell theirs.
        window: Of CT volumes that do not tell theirs, as intensity.normalize takes it.
    """

    split: str | None = "val"
    noise_px: float = 20.0
    noise: Noise = "enlarge"
    seed: int = 0
    min_pixels: int = MIN_PIXELS
    min_instance_pixels: int = MIN_INSTANCE_PIXELS
    max_targets: int | None = MAX_TARGETS
    prompts: tuple[str, ...] = ("box",)
    tasks: tuple[str, ...] = ()
    nsd: Literal["surface", "legacy"] = "surface"
    modality: str = ""
    window: str = ""

    def __post_init__(self) -> None:
        """Refuse prompts that are none, or one twice."""
        if not self.prompts or len(set(self.prompts)) < len(self.prompts):
            raise DataError(
                f"the prompts {', '.join(self.prompts)}", expected="one or more, each once", fix="correct --prompt"
            )
        for text in self.prompts:
            parse_prompt(text)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> EvaluationProtocol:
        """Read asdict of a protocol back, as a run keeps it in JSON.

        Raises:
            TypeError: it has other fields.
        """
        lists = {name: tuple(value) for name, value in record.items() if isinstance(value, list)}
        return cls(**{**record, **lists})  # type: ignore[arg-type]

    @property
    def box_noise(self) -> BoxNoise:
        """Of the prompt "box"."""
        return BoxNoise(self.noise_px, self.noise)

    def takes(self, dataset: str, target: str | None = None) -> bool:
        """Whether a task is measured, or any task of a data set where no target is named."""
        if not self.tasks:
            return True
        for pattern in self.tasks:
            wanted, slash, name = pattern.partition("/")
            if fnmatchcase(dataset, wanted) and (target is None or not slash or fnmatchcase(target, name)):
                return True
        return False


@dataclass(frozen=True, eq=False)
class PromptedPicture:
    """One picture as every model gets it.

    Args:
        dataset: Name of the data set.
        modality: Of the picture.
        sample: Name of the picture.
        group: Patient, scan or slide; "" where it is not known.
        slice_rgb: (H, W, 3) uint8.
        targets: At least one.
        prompt: The word of their prompts.
        spacing_mm: (y, x) of the slice; None where it is not known.
        volume: Name and grid of the volume that it is a slice of; None for a picture.
        number: Of the slice.
    """

    dataset: str
    modality: str
    sample: str
    group: str
    slice_rgb: NDArray[np.uint8]
    targets: PromptedTargets
    prompt: str = "box"
    spacing_mm: tuple[float, float] | None = None
    volume: tuple[str, Grid] | None = None
    number: int = 0


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """A picture that was read, with everything that may be a target.

    Args:
        dataset: Name of the data set.
        modality: Of the picture.
        sample: Name of the picture.
        group: Patient, scan or slide; "" where it is not known.
        slice_rgb: (H, W, 3) uint8.
        found: Of each target, its mask (H, W).
        labels: Of each target, its class id; 0 of an instance.
        names: Of each target.
        spacing_mm: (y, x) of the slice; None where it is not known.
        volume: As PromptedPicture.
        number: Of the slice.
    """

    dataset: str
    modality: str
    sample: str
    group: str
    slice_rgb: NDArray[np.uint8]
    found: Sequence[NDArray[np.bool_]]
    labels: Sequence[int]
    names: Sequence[str]
    spacing_mm: tuple[float, float] | None = None
    volume: tuple[str, Grid] | None = None
    number: int = 0


def prompt_pictures(row: IndexedPicture | StoredPicture, protocol: EvaluationProtocol) -> list[PromptedPicture]:
    """Read a picture, choose its targets and give them each of the protocol's prompts; none where it has no target.

    The prompts depend on the seed, the data set and the picture alone, so any order, any subset and any choice of tasks
    gives the same. All that come back share the picture's array, by which a model knows that it has embedded it.

    Raises:
        DataError: the mask has another size than the image.
        IntensityError: the picture is not 8-bit.
        InputFileError: a file is missing or damaged.
    """
    return prompt_read(_read(row, protocol), protocol)


def prompt_read(read: ReadPicture, protocol: EvaluationProtocol) -> list[PromptedPicture]:
    """Choose the targets of a picture that was read and give them each of the prompts; none where it has no target."""
    targets = _choose_targets(read, protocol)
    if targets is None:
        return []
    prompted = []
    for text in protocol.prompts:
        given = targets
        if text != "box":
            again = prompt_again(
                targets.masks, text, protocol.box_noise, dataset=read.dataset, sample=read.sample, seed=protocol.seed
            )
            given = replace(again, labels=targets.labels, names=targets.names)
        prompted.append(
            PromptedPicture(
                read.dataset, read.modality, read.sample, read.group, read.slice_rgb, given, text, read.spacing_mm,
                read.volume, read.number,
            )
        )  # fmt: skip
    return prompted


def prompt_picture(row: IndexedPicture | StoredPicture, protocol: EvaluationProtocol) -> PromptedPicture | None:
    """Give the first of prompt_pictures; None where the picture has no target.

    Raises:
        MedsamError: as prompt_pictures.
    """
    prompted = prompt_pictures(row, replace(protocol, prompts=protocol.prompts[:1]))
    return prompted[0] if prompted else None


def find_named_targets(
    labels_HW: np.ndarray, row: IndexedPicture, protocol: EvaluationProtocol
) -> tuple[list[NDArray[np.bool_]], list[int], list[str]]:
    """Find the targets of a label map, (H, W): their masks, their class ids and what they are."""
    found = find_targets(
        labels_HW, row.mask_kind, min_pixels=protocol.min_pixels, min_instance_pixels=protocol.min_instance_pixels
    )
    instances = row.mask_kind == "instances"
    labels = [0 if instances else int(labels_HW[mask][0]) for mask in found]
    return found, labels, [OBJECT if instances else name_label(label, row) for label in labels]


def name_label(label: int, row: IndexedPicture) -> str:
    """Say what a class id is."""
    return dict(row.names).get(label, f"label {label}")


def _read(row: IndexedPicture | StoredPicture, protocol: EvaluationProtocol) -> ReadPicture:
    known = (row.dataset, row.modality, row.sample, row.group)
    if isinstance(row, StoredPicture):
        slice_rgb, masks = read_stored(row)
        return ReadPicture(*known, slice_rgb, masks, row.labels, row.names, row.spacing_mm)
    image, labels_HW = read_picture(row)
    spacing = image.grid.spacing_mm
    found, labels, names = find_named_targets(labels_HW, row, protocol)
    return ReadPicture(*known, image.slice_rgb(0), found, labels, names, None if spacing is None else spacing[1:])


def _choose_targets(read: ReadPicture, protocol: EvaluationProtocol) -> PromptedTargets | None:
    """The chosen targets with their noisy boxes; all are drawn before tasks are chosen."""
    found = read.found
    rng = generator_for(read.dataset, read.sample, protocol.seed)
    numbers = list(range(len(found)))
    if protocol.max_targets is not None and len(found) > protocol.max_targets:
        numbers = sorted(rng.choice(len(found), protocol.max_targets, replace=False).tolist())
    if not numbers:
        return None
    boxed = prompt_targets({i: found[i] for i in numbers}, "box", protocol.box_noise, rng)
    told = replace(boxed, labels={i: read.labels[i] for i in numbers}, names={i: read.names[i] for i in numbers})
    wanted = [i for i in numbers if protocol.takes(read.dataset, read.names[i])]
    return told.choose(wanted) if wanted else None
