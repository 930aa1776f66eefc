"""A model measured on folders of images with expert masks: every target prompted with its own noisy box, or a click.

A folder holds images/, masks/ and index.csv with the columns image, mask, group, mask_kind and split. mask_kind
"labels" means class ids, whose connected components are the targets; "instances" means one id per target. The images
are pictures with their intensities baked in, so they go to the model as they are.
"""

from __future__ import annotations

import csv
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import DataError, IntensityError
from medsam.evaluation.metrics import dice, normalized_surface_distance
from medsam.imaging.boxes import Noise, box_from_mask, perturb_boxes
from medsam.imaging.clicks import innermost_point
from medsam.imaging.modality import Modality
from medsam.inference.predictor import Predictor
from medsam.io.formats import read_image, read_mask

COLUMNS = ("image", "mask", "group", "mask_kind", "split")
EIGHT = np.ones((3, 3), dtype=bool)  # neighbours that touch by an edge or a corner
PREFIXES = {
    "ct": Modality.CT, "mr": Modality.MR, "cxr": Modality.XRAY, "us": Modality.ULTRASOUND,
    "mammo": Modality.MAMMOGRAPHY, "oct": Modality.OCT, "endoscopy": Modality.ENDOSCOPY,
    "dermoscopy": Modality.DERMOSCOPY, "fundus": Modality.FUNDUS,
    "path": Modality.PATHOLOGY, "micro": Modality.MICROSCOPY,
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """How targets are chosen and prompted.

    Args:
        split: Rows of index.csv to take; None takes all.
        noise_px: Largest move of a box side, in pixels of a 1024 x 1024 picture (paper, Methods: 0 to 20).
        noise: "enlarge" moves sides outwards only, as the released training does; "both" moves them either way.
        seed: Of the noise and of the choice of targets.
        min_pixels: Smaller components of class masks are no targets (released code: 100).
        min_instance_pixels: Smaller instances are no targets (LiteMedSAM: 10).
        max_targets: Most targets of one image, chosen at random; None takes all.
        prompt: "box" as above, or "point": one click, on the pixel deepest inside the target.
    """

    split: str | None = "val"
    noise_px: float = 20.0
    noise: Noise = "enlarge"
    seed: int = 0
    min_pixels: int = 100
    min_instance_pixels: int = 10
    max_targets: int | None = 20
    prompt: Literal["box", "point"] = "box"


@dataclass(frozen=True)
class Sample:
    """One row of index.csv."""

    dataset: str
    modality: str
    image: Path
    mask: Path
    group: str
    mask_kind: str
    licence: str = "not stated"


@dataclass(frozen=True)
class Score:
    """One target measured.

    Args:
        dataset: Folder name.
        modality: Of the data set.
        sample: File name of the image.
        group: Patient, scan or slide.
        target: Number of the target among all targets of the image, from 0.
        targets: How many targets of the image were measured.
        pixels: Size of the expert mask.
        method: Name of the model.
        dice: Of the target.
        nsd: At 2 pixels: pictures carry no spacing.
        seconds: Encode and decode of the image, shared among its targets.
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


def read_samples(folder: str | Path, split: str | None) -> list[Sample]:
    """Read the index of a data set folder.

    Raises:
        DataError: no index.csv, a column is missing, a kind of mask is unknown, or no row is in the split.
    """
    root = Path(folder)
    index = root / "index.csv"
    if not index.is_file():
        raise DataError(
            f"{root} has no index.csv", expected=f"columns {', '.join(COLUMNS)}", fix="see docs/evaluation.md"
        )
    with index.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{index} lacks the columns {', '.join(missing)}", expected=", ".join(COLUMNS), fix="add them"
            )
        listed = list(reader)
    rows = [row for row in listed if split is None or row["split"] == split]
    if not rows:
        splits = ", ".join(sorted({row["split"] or "''" for row in listed})) or "any row at all"
        raise DataError(f"{index} has no row of split {split!r}", expected=splits, fix="choose a split that it has")
    kinds = {row["mask_kind"] for row in rows} - {"labels", "instances"}
    if kinds:
        raise DataError(f"{index} has mask_kind {sorted(kinds)[0]!r}", expected="labels or instances", fix="correct it")
    modality = PREFIXES.get(root.name.split("_")[0])
    named = modality.value if modality else "unknown"
    return [
        Sample(
            root.name, named, root / row["image"], root / row["mask"], row["group"], row["mask_kind"],
            row.get("licence") or "not stated",
        )
        for row in rows
    ]  # fmt: skip


def targets_of(labels_HW: np.ndarray, mask_kind: str, protocol: Protocol) -> list[NDArray[np.bool_]]:
    """Split a mask into its targets, in order of label and place.

    Args:
        labels_HW: Class ids or instance ids, 0 is background.
        mask_kind: "labels" or "instances".
        protocol: Smallest sizes.
    """
    ids = [int(i) for i in np.unique(labels_HW) if i]
    if mask_kind == "instances":
        masks = [labels_HW == i for i in ids]
        return [mask for mask in masks if np.count_nonzero(mask) >= protocol.min_instance_pixels]
    targets = []
    for i in ids:
        components, count = ndimage.label(labels_HW == i, structure=EIGHT)
        sizes = np.bincount(components.reshape(-1), minlength=count + 1)
        targets += [components == c for c in range(1, count + 1) if sizes[c] >= protocol.min_pixels]
    return targets


def evaluate(predictor: Predictor, samples: Sequence[Sample], protocol: Protocol) -> Iterator[list[Score]]:
    """Measure a model on samples, one image at a time.

    Args:
        predictor: A loaded model.
        samples: From read_samples.
        protocol: How targets are chosen and prompted.

    Yields:
        For each image with targets, one Score per target; the same whatever the order and the other images.
    """
    for sample in samples:
        scores = evaluate_sample(predictor, sample, protocol)
        if scores:
            yield scores


def evaluate_sample(predictor: Predictor, sample: Sample, protocol: Protocol) -> list[Score]:
    """Measure one image: one embedding, the boxes of all its targets in one decode.

    Raises:
        DataError: the mask has another size than the image.
        IntensityError: the picture is not 8-bit.
    """
    image = read_image(sample.image)
    labels_HW = read_mask(sample.mask).labels[0]
    height, width = image.grid.shape[1:]
    if labels_HW.shape != (height, width):
        raise DataError(
            f"{sample.mask} is {labels_HW.shape} and its image is {(height, width)} pixels",
            expected="the same size",
            fix="correct the pair or take it out of index.csv",
        )
    if image.values.dtype != np.uint8:
        raise IntensityError(
            f"{sample.image} has {image.values.dtype} pixels", expected="an 8-bit picture", fix="normalize it first"
        )
    rng = np.random.default_rng([protocol.seed, zlib.crc32(f"{sample.dataset}/{sample.image.name}".encode())])
    targets = dict(enumerate(targets_of(labels_HW, sample.mask_kind, protocol)))
    if protocol.max_targets is not None and len(targets) > protocol.max_targets:
        chosen = sorted(rng.choice(len(targets), protocol.max_targets, replace=False).tolist())
        targets = {i: targets[i] for i in chosen}
    if not targets:
        return []
    experts = list(targets.values())
    start = time.perf_counter()
    embedding = predictor.embed(image.slice_rgb(0))
    if protocol.prompt == "box":
        tight_N4 = np.stack([box_from_mask(mask) for mask in experts])
        boxes_N4 = perturb_boxes(tight_N4, height, width, rng, max_px=protocol.noise_px, noise=protocol.noise)
        masks_NHW, _ = predictor.decode(embedding, boxes=boxes_N4)
    else:
        points = [[innermost_point(mask)] for mask in experts]
        masks_NHW, _ = predictor.decode(embedding, points=points, point_labels=[[1]] * len(points))
    seconds = (time.perf_counter() - start) / len(targets)
    return [
        Score(
            dataset=sample.dataset, modality=sample.modality, sample=sample.image.name, group=sample.group,
            target=number, targets=len(targets), pixels=int(np.count_nonzero(expert)), method=predictor.manifest.name,
            dice=dice(mask, expert), nsd=normalized_surface_distance(mask, expert), seconds=seconds,
        )
        for (number, expert), mask in zip(targets.items(), masks_NHW, strict=True)
    ]  # fmt: skip
