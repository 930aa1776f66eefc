"""COCO JSON: run lengths as pycocotools stores them, and bbox, area and category for each label of one slice.

Annotations of other images than the chosen one are left out. Polygons are filled by the centres of the pixels.
Run lengths go down the columns, first background, then foreground, in turn. The text packs each length, less the one
two places before it from the fourth on, into characters of six bits: five of the number, one that says more follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medsam.errors import InputFileError, OutputError
from medsam.files.atomic import write_text
from medsam.imaging.image import Grid, Mask
from medsam.io.formats import WriteOptions
from medsam.io.guard import guarded
from medsam.io.labels import choose_grid_without_geometry
from medsam.io.limits import describe_content, read_head, refuse_oversized
from medsam.io.outlines.contours import fill
from medsam.io.placement import choose_dtype
from medsam.io.text import read_json

Runs = Sequence[int]
Entry = Mapping[str, Any]  # one object of the JSON, checked where it is used
MAX_LABEL = 1 << 31
MAX_PIXELS = 1 << 30


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
    write_text(path, json.dumps(record, indent=1))


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
        "segmentation": {"size": list(region.shape), "counts": pack(encode_runs(region))},
    }


def read_mask(path: Path, reference: Grid | None, volume: int | None = None) -> Mask:
    """Read the annotations of one image; the category id becomes the label, later annotations lie on top.

    Args:
        path: A COCO file; annotations of other images are left out.
        reference: Grid of the image.
        volume: Which of several images, from 0 in the order of the file.

    Raises:
        InputFileError: not COCO, several images and none chosen, or runs that do not fill the image.
        GeometryError: another shape than the reference.
    """
    record = _record(path)
    with guarded(path, "a COCO file"):
        try:
            image = _choose_image(record, volume, path)
            shape = (1, _whole(image["height"]), _whole(image["width"]))
            refuse_oversized(path, shape[1] * shape[2], MAX_PIXELS, max_bytes=MAX_PIXELS)
            annotations = _annotations_of(image, record, path)
            ids = [_whole(annotation["category_id"]) for annotation in annotations]
            if any(not 0 < label < MAX_LABEL for label in ids):
                wrong = next(label for label in ids if not 0 < label < MAX_LABEL)
                raise InputFileError(
                    f"{path} has the category {wrong}", expected="1 or more", fix="renumber the categories"
                )
            labels = np.zeros(shape, dtype=choose_dtype(max(ids, default=0)))
            for label, annotation in zip(ids, annotations, strict=True):
                labels[0][_region(annotation["segmentation"], shape[1:], path)] = label
            names = {_whole(c["id"]): str(c["name"]) for c in _list(record.get("categories", [])) if "name" in c}
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputFileError(
                f"{path} is no COCO file ({error!r:.80})",
                expected="images and annotations as COCO has them",
                fix="export it again",
            ) from None
    own = {i: name for i, name in names.items() if name != f"label {i}"}
    return Mask(labels, choose_grid_without_geometry(shape, reference, path), own)


def _record(path: Path) -> Entry:
    record = read_json(path, "a COCO file")
    if not isinstance(record, dict):
        raise InputFileError(
            f"{path} holds {describe_content(read_head(path, 540))}, not a JSON object",
            expected="a COCO file",
            fix="export it again",
        )
    return record


def _choose_image(record: Entry, volume: int | None, path: Path) -> Entry:
    images = record.get("images")
    if not isinstance(images, list) or not images or not isinstance(record.get("annotations"), list):
        outlines = record.get("type") in ("FeatureCollection", "Feature")
        fix = "it is GeoJSON: name it .geojson" if outlines else "export it again"
        raise InputFileError(f"{path} holds no images or no annotations", expected="a COCO file", fix=fix)
    if len(images) == 1 and volume not in (None, 0):
        raise InputFileError(f"{path} holds no volume {volume}", expected="0", fix="leave the volume out")
    if not 0 <= (volume or 0) < len(images) or (volume is None and len(images) > 1):
        raise InputFileError(
            f"{path} holds {len(images)} images" + ("" if volume is None else f", and no image {volume}"),
            expected="one",
            fix=f"choose one from 0 to {len(images) - 1}, in the order of the file, with volume= (--volume)",
        )
    image = images[volume or 0]
    if [one.get("id") for one in images].count(image.get("id")) > 1:
        raise InputFileError(f"{path} has images that share an id", expected="an id for each", fix="export it again")
    chosen: Entry = image
    return chosen


def _annotations_of(image: Entry, record: Entry, path: Path) -> list[Entry]:
    """The annotations whose image_id is the image's id; without one they belong to the only image."""
    images, annotations = _list(record["images"]), _list(record["annotations"])
    owners = [one.get("image_id", image.get("id") if len(images) == 1 else None) for one in annotations]
    own = [one for one, owner in zip(annotations, owners, strict=True) if owner == image.get("id")]
    ids = [one.get("id") for one in images]
    if annotations and not any(owner in ids for owner in owners):
        raise InputFileError(
            f"{path} holds annotations of other images alone",
            expected="annotations whose image_id is the id of an image of the file",
            fix="export images and annotations together",
        )
    return own


def _list(value: object) -> list[Entry]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _whole(value: object) -> int:
    """A whole number of JSON, also written as 7.0.

    Raises:
        ValueError: another value.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError("no whole number")
    return int(value)


def _region(segmentation: object, shape: tuple[int, int], path: Path) -> NDArray[np.bool_]:
    if isinstance(segmentation, list):
        return _fill_polygons(segmentation, shape)
    if not isinstance(segmentation, dict):
        raise TypeError("neither runs nor polygons")
    counts = segmentation["counts"]
    if tuple(_whole(n) for n in segmentation["size"]) != shape:
        raise InputFileError(
            f"{path} has runs for {segmentation['size']}", expected=f"{list(shape)} as its image", fix="export it again"
        )
    runs = unpack(counts) if isinstance(counts, str) else [_whole(n) for n in counts]
    if any(run < 0 for run in runs) or sum(runs) != shape[0] * shape[1]:
        raise InputFileError(
            f"{path} has runs of {sum(runs)} pixels", expected=f"{shape[0] * shape[1]}", fix="export it again"
        )
    return decode_runs(runs, shape)


def _fill_polygons(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose centre lies in one of the polygons, each x0 y0 x1 y1 ... in corner coordinates."""
    region = np.zeros(shape, dtype=bool)
    for polygon in polygons:
        ring = np.array(polygon, dtype=np.float64).reshape(-1, 2)
        if len(ring) < 3 or not np.isfinite(ring).all():
            raise ValueError("a polygon of fewer than three points")
        low = np.clip(np.floor(ring.min(axis=0)), 0, shape[::-1]).astype(int)
        high = np.clip(np.ceil(ring.max(axis=0)), 0, shape[::-1]).astype(int)
        part = region[low[1] : high[1], low[0] : high[0]]
        part |= fill([ring - low], *part.shape)
    return region


def encode_runs(region: NDArray[np.bool_]) -> list[int]:
    """Lengths of background and foreground in turn, down the columns of (H, W); the first may be 0."""
    flat = region.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def decode_runs(runs: Runs, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Undo encode_runs."""
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
