"""A store opened for reading: pairs by number, counts, and a check that everything is what the catalogue says."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medsam.data.cases.case import to_eight_bit
from medsam.data.store.planes import Planes
from medsam.data.store.records import check_name, read_records, read_report
from medsam.data.store.settings import CurateSettings, load_settings
from medsam.data.store.shards import ARRAYS, hash_mask
from medsam.data.store.tables import CATALOGUE, read_table
from medsam.errors import DataError, MedsamError

OPEN_ARRAYS = 256  # held open at once, below the usual limit of 1024 files
_PLACES = ("shard", "image_array", "image_index", "mask_array", "mask_index", "mask_value", "height", "width")


@dataclass(frozen=True)
class Place:
    """Where the picture and the mask of a pair lie in the store."""

    shard: str
    image_array: str
    image_index: int
    mask_array: str
    mask_index: int
    mask_value: int
    height: int
    width: int


class Store:
    """Random access to the pairs of a store; safe to pickle to loader processes, which open files anew."""

    def __init__(self, path: str | Path) -> None:
        """Open the folder of a store.

        Raises:
            DataError: not a store, of another format, or without a catalogue.
        """
        self.path = Path(path)
        self.settings: CurateSettings = load_settings(self.path)
        self.catalogue: pa.Table = read_table(self.path / "catalogue.parquet", schema=CATALOGUE)
        self._columns = {name: self.catalogue[name].combine_chunks() for name in _PLACES}
        self._array = lru_cache(maxsize=OPEN_ARRAYS)(self._open)

    def __len__(self) -> int:
        """How many pairs."""
        return int(self.catalogue.num_rows)

    def __getstate__(self) -> dict[str, object]:
        """The path is enough."""
        return {"path": self.path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Open again in the other process."""
        Store.__init__(self, state["path"])

    def rows(self, **equal: str) -> NDArray[np.int64]:
        """Numbers of the pairs whose columns have these values, as rows(split="train", modality="CT").

        Raises:
            DataError: no such column.
        """
        chosen = np.ones(len(self), dtype=bool)
        for name, value in equal.items():
            if name not in self.catalogue.column_names:
                raise DataError(
                    f"the catalogue has no column {name!r}",
                    expected=f"one of {', '.join(self.catalogue.column_names)}",
                    fix="correct the name",
                )
            chosen &= np.array(self.catalogue[name].to_pylist(), dtype=object) == value
        return np.flatnonzero(chosen)

    def place(self, number: int) -> Place:
        """Where pair `number` lies."""
        if not 0 <= number < len(self):
            raise DataError(
                f"pair {number} of a store of {len(self)}", expected=f"0 to {len(self) - 1}", fix="correct the number"
            )
        return Place(*(self._columns[name][number].as_py() for name in _PLACES))

    def pair(self, number: int) -> tuple[np.ndarray, NDArray[np.bool_]]:
        """Picture and mask of a pair.

        Returns:
            (H, W, 1 or 3) uint8 (uint16 in a 16-bit store) at native resolution, and (H, W) bool.
        """
        place = self.place(number)
        return self.picture(place), self.layer(place) == place.mask_value

    def slice_rgb(self, number: int) -> NDArray[np.uint8]:
        """The picture as predictors and training take it: (H, W, 3) uint8."""
        pixels = self.picture(self.place(number))
        return np.ascontiguousarray(np.broadcast_to(to_eight_bit(pixels), (*pixels.shape[:2], 3)))

    def picture(self, place: Place) -> np.ndarray:
        """(H, W, C) pixels."""
        return self._read(place.shard, place.image_array, place.image_index)[: place.height, : place.width]

    def picture_sha256(self, place: Place) -> str:
        """What the catalogue has as image_sha256."""
        return hashlib.sha256(np.ascontiguousarray(self.picture(place)).tobytes()).hexdigest()

    def layer(self, place: Place) -> np.ndarray:
        """(H, W) object numbers of a mask layer."""
        return self._read(place.shard, place.mask_array, place.mask_index)[: place.height, : place.width]

    def _read(self, shard: str, array: str, index: int) -> np.ndarray:
        return self._array(shard, array)[index]

    def _open(self, shard: str, array: str) -> Planes:
        return Planes(self.path / "shards" / check_name(shard) / ARRAYS / check_name(array))


@dataclass(frozen=True)
class StoreCounts:
    """Counts of a store: pairs by column, pictures, what was left out, and its size."""

    pairs: int
    images: int
    groups: int
    bytes: int
    by: Mapping[str, Mapping[str, int]]
    excluded: Mapping[str, int]
    excluded_cases: Mapping[str, int]
    near_duplicates: int
    suspect_text: Mapping[str, int]


COUNTED = ("modality", "dataset", "target", "licence", "split")


def count_store(store: Store) -> StoreCounts:
    """Count a store."""
    table = store.catalogue
    by = {name: _counts(table[name]) for name in COUNTED}
    datasets, duplicates = read_report(store.path)
    left_out, without_pairs = Counter[str](), Counter[str]()
    for counts in datasets.values():
        left_out.update(counts.excluded_pairs)
        without_pairs.update(counts.excluded_cases)
    columns = ["image_sha256", "dataset", "suspect_text", "modality"]
    images = table.select(columns).group_by(columns).aggregate([]).to_pylist()
    suspect = Counter(row["modality"] for row in images if row["suspect_text"])
    size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    groups = len(table["group"].unique())
    return StoreCounts(
        len(store),
        len(images),
        groups,
        size,
        by,
        dict(sorted(left_out.items())),
        dict(sorted(without_pairs.items())),
        duplicates,
        dict(suspect),
    )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = Counter(column.to_pylist())
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def check(store: Store, *, sample: int | None = None, seed: int = 0) -> list[str]:
    """Everything that is wrong with a store; empty where it is whole.

    Args:
        store: The store.
        sample: Read back only so many pairs, chosen at random; None reads all.
        seed: Of that choice.
    """
    problems = [*_check_names(store), *_check_counts(store)]
    numbers = list(range(len(store)))
    if sample is not None and sample < len(numbers):
        numbers = sorted(random.Random(seed).sample(numbers, sample))  # noqa: S311 - which pairs to look at
    return problems + list(_check_pixels(store, numbers))


def _check_names(store: Store) -> Iterator[str]:
    table = store.catalogue
    if len(table["sample_id"].unique()) != len(table):
        yield "two pairs have the same sample_id"
    homes: dict[str, str] = {}
    for group, split in zip(table["group"].to_pylist(), table["split"].to_pylist(), strict=True):
        if homes.setdefault(group, split) != split:
            yield f"group {group} lies in two splits"
            return


def _check_counts(store: Store) -> Iterator[str]:
    report, _ = read_report(store.path)
    listed: set[str] = set()
    in_catalogue = Counter(store.catalogue["dataset"].to_pylist())
    for record in read_records(store.path):
        listed |= set(record.shards)
        summary = report[record.name].summary if record.name in report else None
        if not record.complete:
            yield f"{record.name} is not complete; run medsam curate again"
        if summary is None or summary.pairs_kept + summary.pairs_excluded != summary.pairs_read:
            yield f"{record.name}: kept + excluded is not what was read"
        elif in_catalogue[record.name] != summary.pairs_kept:
            found = in_catalogue[record.name]
            yield f"{record.name}: the catalogue has {found} pairs, its shards {summary.pairs_kept}"
    present = {folder.name for folder in (store.path / "shards").iterdir() if not folder.name.startswith(".")}
    yield from (f"shard {name} is missing" for name in sorted(listed - present))
    yield from (f"shard {name} belongs to no data set" for name in sorted(present - listed))


def _check_pixels(store: Store, numbers: list[int]) -> Iterator[str]:
    """Read pairs back and compare their hashes; what several pairs share is read once."""
    names = ("sample_id", "image_sha256", "mask_sha256", "x0", "y0", "x1", "y1")
    columns = [store.catalogue[name].combine_chunks() for name in names]
    digest_of, layer_of = lru_cache(maxsize=4)(store.picture_sha256), lru_cache(maxsize=4)(store.layer)
    for number in numbers:
        place = store.place(number)
        sample, image_hash, mask_hash, *box = (column[number].as_py() for column in columns)
        try:
            if digest_of(replace(place, mask_array="", mask_index=0, mask_value=0)) != image_hash:
                yield f"pair {sample}: its picture has changed"
            layer = layer_of(replace(place, image_array="", image_index=0, mask_value=0))
            if hash_mask(layer, place.mask_value, (box[0], box[1], box[2], box[3])) != mask_hash:
                yield f"pair {sample}: its mask has changed"
        except MedsamError as error:
            yield f"pair {sample}: {error.got}"
