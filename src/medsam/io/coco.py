"""COCO JSON of one slice: run lengths as pycocotools stores them, and bbox, area and category for each label.

Run lengths go down the columns, first background, then foreground, in turn. The text packs each length, less the one
two places before it from the fourth on, into characters of six bits: five of the number, one that says more follow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError, OutputError
from medsam.imaging.image import Grid, Mask
from medsam.io.atomic import replacing
from medsam.io.formats import WriteOptions
from medsam.io.labels import grid_without_geometry, smallest
from medsam.io.limits import MAX_BYTES, content, head, refuse_oversized

Runs = Sequence[int]
MAX_LABEL = 1 << 31


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write one annotation for each label; its category id is the label.

    Raises:
        OutputError: more than one slice, or the disk refused.
    """
    if mask.grid.shape[0] != 1:
        raise OutputError(
            f"a mask of {mask.grid.shape[0]} slices for COCO",
            expected="one slice",
            fix="write .nii.gz, .nrrd or .mha instead",
        )
    _, height, width = mask.grid.shape
    name = options.reference.name if options.reference else f"{path.stem}.png"
    record = {
        "info": {"description": "medsam"},
        "images": [{"id": 1, "width": width, "height": height, "file_name": name}],
        "categories": [{"id": i, "name": mask.names.get(i, f"label {i}")} for i in mask.ids],
        "annotations": [
            _annotation(number, label, mask.labels[0] == label) for number, label in enumerate(mask.ids, 1)
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _annotation(number: int, label: int, region: NDArray[np.bool_]) -> dict[str, object]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "id": number,
        "image_id": 1,
        "category_id": label,
        "iscrowd": 0,
        "area": int(region.sum()),
        "bbox": [float(v) for v in box],
        "segmentation": {"size": list(region.shape), "counts": pack(run_lengths(region))},
    }


def read_mask(path: Path, reference: Grid | None) -> Mask:
    """Read the run lengths of one image; the category id becomes the label, later annotations lie on top.

    Raises:
        InputFileError: not COCO, several images, polygons, or runs that do not fill the image.
        GeometryError: another shape than the reference.
    """
    record = _record(path)
    images, annotations = record.get("images"), record.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list) or len(images) != 1:
        held = f"{len(images)} images" if isinstance(images, list) else "no images"
        raise InputFileError(f"{path} holds {held}", expected="a COCO file of one image", fix="split it by image")
    try:
        shape = (1, int(images[0]["height"]), int(images[0]["width"]))
        refuse_oversized(path, shape[1] * shape[2], MAX_BYTES >> 1, max_bytes=MAX_BYTES >> 1)
        labels = np.zeros(shape, dtype=np.uint32)
        for annotation in annotations:
            label = int(annotation["category_id"])
            if not 0 < label < MAX_LABEL:
                raise InputFileError(
                    f"{path} has the category {label}", expected="1 or more", fix="renumber the categories"
                )
            labels[0][_region(annotation["segmentation"], shape[1:], path)] = label
        names = {int(c["id"]): str(c["name"]) for c in record.get("categories", []) if "name" in c}  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputFileError(
            f"{path} is no COCO file ({error!r:.80})",
            expected="images and annotations as COCO has them",
            fix="export it again",
        ) from None
    own = {i: name for i, name in names.items() if name != f"label {i}"}
    return Mask(smallest(labels), grid_without_geometry(shape, reference, path), own)


def _record(path: Path) -> dict[str, object]:
    refuse_oversized(path, path.stat().st_size, path.stat().st_size, max_bytes=MAX_BYTES >> 3)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise InputFileError(
            f"{path} holds {content(head(path, 540))}, not a JSON object", expected="a COCO file", fix="export it again"
        )
    return record


def _region(segmentation: object, shape: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    if not isinstance(segmentation, dict):
        raise InputFileError(
            f"{path} holds polygons",
            expected="run lengths (segmentation with size and counts)",
            fix="convert them with pycocotools' annToRLE",
        )
    counts = segmentation["counts"]
    if tuple(int(n) for n in segmentation["size"]) != shape:
        raise InputFileError(
            f"{path} has runs for {segmentation['size']}", expected=f"{list(shape)} as its image", fix="export it again"
        )
    runs = unpack(counts) if isinstance(counts, str) else [int(n) for n in counts]
    if any(run < 0 for run in runs) or sum(runs) != shape[0] * shape[1]:
        raise InputFileError(
            f"{path} has runs of {sum(runs)} pixels", expected=f"{shape[0] * shape[1]}", fix="export it again"
        )
    return filled(runs, shape)


def run_lengths(region: NDArray[np.bool_]) -> list[int]:
    """Lengths of background and foreground in turn, down the columns of (H, W); the first may be 0."""
    flat = region.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def filled(runs: Runs, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Undo run_lengths."""
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, np.asarray(runs, dtype=np.int64)).reshape(shape[::-1]).T


def pack(runs: Runs) -> str:
    """Lengths as COCO's compressed text."""
    text = []
    for place, run in enumerate(runs):
        rest = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if bits & 0x10 else 0)
            text.append(chr(48 + (bits | 0x20 if more else bits)))
    return "".join(text)


def unpack(text: str) -> list[int]:
    """Undo pack.

    Raises:
        ValueError: characters outside the alphabet, or the text breaks off.
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"{character!r} in run lengths")
        number |= (bits & 0x1F) << shift
        shift += 5
        if shift > 60:
            raise ValueError("a run length beyond 60 bits")
        if bits & 0x20:
            continue
        number -= (1 << shift) if bits & 0x10 else 0
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("run lengths that break off")
    return runs
