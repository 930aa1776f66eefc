"""Pictures of a training store with all their targets, for evaluation.

Shapes: H rows, W columns of the slice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.data.store.reading import Store
from medsam.errors import DataError

_COLUMNS = (
    "dataset",
    "modality",
    "case",
    "slice",
    "window",
    "group",
    "target",
    "label",
    "spacing_y_mm",
    "spacing_x_mm",
)
_PLACE = ("shard", "image_array", "image_index")


@dataclass(frozen=True, eq=False)
class StoredPicture:
    """One picture of a store.

    Args:
        dataset: Name of the data set.
        modality: Of the picture.
        sample: Its case, slice and window.
        group: Patient, scan or slide.
        store: Where it lies.
        numbers: Of its pairs, one a target.
        labels: Class id of each target.
        names: What each target is.
        spacing_mm: (y, x) of the picture; None where it is not known.
    """

    dataset: str
    modality: str
    sample: str
    group: str
    store: Store
    numbers: tuple[int, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    spacing_mm: tuple[float, float] | None = None


def list_stored(path: str | Path, split: str | None) -> list[StoredPicture]:
    """List the pictures of a store.

    Args:
        path: Of the store.
        split: Pairs to take; None takes all.

    Raises:
        DataError: no store, or no pair of that split.
    """
    store = Store(path)
    numbers = store.rows() if split is None else store.rows(split=split)
    if not len(numbers):
        splits = ", ".join(sorted(set(store.catalogue["split"].to_pylist())))
        raise DataError(
            f"the store has no pair of split {split!r}", expected=splits or "pairs", fix="choose a split it has"
        )
    rows = store.catalogue.select([*_COLUMNS, *_PLACE]).take(numbers).to_pylist()
    pictures: dict[tuple[object, ...], list[tuple[int, dict[str, object]]]] = {}
    for number, row in zip(numbers.tolist(), rows, strict=True):
        pictures.setdefault(tuple(row[name] for name in _PLACE), []).append((number, row))
    seen: Counter[tuple[object, str]] = Counter()
    listed = []
    for members in pictures.values():
        row = members[0][1]
        window = f" {row['window']}" if row["window"] else ""
        sample = f"{row['case']}[{row['slice']}]{window}".replace("/", "_")
        again = seen[row["dataset"], sample]  # as the channels of a scan, which share case and slice
        seen[row["dataset"], sample] += 1
        listed.append(
            StoredPicture(
                str(row["dataset"]), str(row["modality"]), f"{sample} {again}" if again else sample, str(row["group"]),
                store, tuple(number for number, _ in members),
                tuple(int(str(member["label"])) for _, member in members),
                tuple(str(member["target"]) for _, member in members), _read_spacing(row),
            )
        )  # fmt: skip
    return listed


def _read_spacing(row: dict[str, object]) -> tuple[float, float] | None:
    down, across = row["spacing_y_mm"], row["spacing_x_mm"]
    return None if down is None or across is None else (float(str(down)), float(str(across)))


def read_stored(picture: StoredPicture) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Read a picture, (H, W, 3) uint8, and the masks of its targets, (H, W) bool."""
    pairs = [picture.store.pair(number)[1] for number in picture.numbers]
    return picture.store.slice_rgb(picture.numbers[0]), pairs
