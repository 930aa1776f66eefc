"""Pictures with their targets and prompts, drawn once and put to every model alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError
from medsam.evaluation.index import IndexedPicture, read_pair
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
    """

    dataset: str
    modality: str
    sample: str
    group: str
    slice_rgb: NDArray[np.uint8]
    targets: PromptedTargets
    prompt: str = "box"


def prompt_pictures(row: IndexedPicture | StoredPicture, protocol: EvaluationProtocol) -> list[PromptedPicture]:
    """Read a picture, choose its targets and give them each of the protocol's prompts; none where it has no target.

    The prompts depend on the seed, the data set and the picture alone, so any order, any subset and any choice of tasks
    gives the same. All that come back share the picture's array, by which a model knows that it has embedded it.

    Raises:
        DataError: the mask has another size than the image.
        IntensityError: the picture is not 8-bit.
        InputFileError: a file is missing or damaged.
    """
    slice_rgb, targets = _read_targets(row, protocol)
    if targets is None:
        return []
    prompted = []
    for text in protocol.prompts:
        given = targets
        if text != "box":
            again = prompt_again(
                targets.masks, text, protocol.box_noise, dataset=row.dataset, sample=row.sample, seed=protocol.seed
            )
            given = replace(again, labels=targets.labels, names=targets.names)
        prompted.append(PromptedPicture(row.dataset, row.modality, row.sample, row.group, slice_rgb, given, text))
    return prompted


def prompt_picture(row: IndexedPicture | StoredPicture, protocol: EvaluationProtocol) -> PromptedPicture | None:
    """Give the first of prompt_pictures; None where the picture has no target.

    Raises:
        MedsamError: as prompt_pictures.
    """
    prompted = prompt_pictures(row, replace(protocol, prompts=protocol.prompts[:1]))
    return prompted[0] if prompted else None


def _read_targets(
    row: IndexedPicture | StoredPicture, protocol: EvaluationProtocol
) -> tuple[NDArray[np.uint8], PromptedTargets | None]:
    """The picture, and the chosen targets with their noisy boxes; all are drawn before tasks are chosen."""
    if isinstance(row, StoredPicture):
        slice_rgb, found = read_stored(row)
        labels, names = list(row.labels), list(row.names)
    else:
        slice_rgb, labels_HW = read_pair(row)
        found = find_targets(
            labels_HW, row.mask_kind, min_pixels=protocol.min_pixels, min_instance_pixels=protocol.min_instance_pixels
        )
        instances = row.mask_kind == "instances"
        labels = [0 if instances else int(labels_HW[mask][0]) for mask in found]
        names = [OBJECT if instances else dict(row.names).get(label, f"label {label}") for label in labels]
    rng = generator_for(row.dataset, row.sample, protocol.seed)
    numbers = list(range(len(found)))
    if protocol.max_targets is not None and len(found) > protocol.max_targets:
        numbers = sorted(rng.choice(len(found), protocol.max_targets, replace=False).tolist())
    if not numbers:
        return slice_rgb, None
    boxed = prompt_targets({i: found[i] for i in numbers}, "box", protocol.box_noise, rng)
    told = replace(boxed, labels={i: labels[i] for i in numbers}, names={i: names[i] for i in numbers})
    wanted = [i for i in numbers if protocol.takes(row.dataset, names[i])]
    return slice_rgb, told.choose(wanted) if wanted else None
