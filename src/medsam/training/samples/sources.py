"""Where training samples come from: a curated store, folders with an index, or a user's own cases.

Shapes: H rows, W columns of the slice.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medsam.data.store.reading import Store
from medsam.data.store.tables import read_table
from medsam.errors import DataError, IntensityError
from medsam.evaluation.index import IndexedPicture, read_pair
from medsam.evaluation.targets import find_targets
from medsam.imaging.intensity import normalize
from medsam.io.formats import read_image, read_mask

PICTURE = ["shard", "image_array", "image_index"]  # columns that say which picture a pair lies on


@dataclass(frozen=True)
class Unit:
    """What one sample is drawn from: a picture with its targets, or one image-mask pair."""

    name: str
    dataset: str
    modality: str
    licence: str


@dataclass(frozen=True, eq=False)
class TrainingSlice:
    """A picture as predictors take it, and its targets.

    Args:
        pixels_HW3: (H, W, 3) uint8 in [0, 255].
        masks: (H, W) bool, one a target, none empty.
    """

    pixels_HW3: NDArray[np.uint8]
    masks: Sequence[NDArray[np.bool_]]


class SampleSource(Protocol):
    """Random access to samples; safe to pickle to loader processes."""

    def __len__(self) -> int:
        """How many units."""
        ...

    @property
    def pictures(self) -> int:
        """On how many different pictures."""
        ...

    def identity(self) -> str:
        """Hex sha256 of what the units are, in their order: a run goes on with the same ones only."""
        ...

    def unit(self, number: int) -> Unit:
        """What unit `number` is, without reading pixels."""
        ...

    def read(self, number: int) -> TrainingSlice:
        """Pixels and targets of unit `number`."""
        ...


def hash_rows(rows: Iterable[Sequence[str]]) -> str:
    """Hash rows of names: hex sha256."""
    made = hashlib.sha256()
    for row in rows:
        made.update(json.dumps(row).encode())
    return made.hexdigest()


class StoreSource:
    """One split of a curated store.

    Args:
        path: Folder of the store.
        split: Which rows.
        by_picture: A unit is a picture with all its targets, else one image-mask pair.
        subset: List made by `medsam subset`; a split in which it names no pair is taken whole.
        target: Name of the one to take; "" takes all.
    """

    def __init__(
        self, path: Path, split: str, *, by_picture: bool, subset: Path | None = None, target: str = ""
    ) -> None:
        self.store = Store(path)
        rows = self.store.rows(split=split)
        if not len(rows):
            counts = Counter(self.store.catalogue["split"].to_pylist())
            there = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
            raise DataError(
                f"the store {path} has no split {split!r}", expected=f"one of {there}", fix="correct the split"
            )
        if subset is not None:
            rows = self._listed(rows, subset)
        if target:
            rows = self._of_target(rows, target)
        names = ("sample_id", "dataset", "modality", "licence")
        self._names = [self.store.catalogue[name].combine_chunks() for name in names]
        self._rows = self._pictures(rows) if by_picture else [row[None] for row in rows]
        self.pictures = self.store.catalogue.select(PICTURE).take(rows).group_by(PICTURE).aggregate([]).num_rows

    def _listed(self, rows: NDArray[np.int64], subset: Path) -> NDArray[np.int64]:
        wanted = set(read_table(subset, ["sample_id"])["sample_id"].to_pylist())
        unknown = wanted.difference(self.store.catalogue["sample_id"].to_pylist())
        if unknown:
            raise DataError(
                f"{len(unknown):,} of the {len(wanted):,} pairs of {subset} are not in the store {self.store.path}",
                expected="a list made of this store",
                fix="make it again with medsam subset",
            )
        listed = [row for row in rows.tolist() if self.store.catalogue["sample_id"][row].as_py() in wanted]
        return np.array(listed, dtype=np.int64) if listed else rows

    def _of_target(self, rows: NDArray[np.int64], target: str) -> NDArray[np.int64]:
        taken = np.intersect1d(rows, self.store.rows(target=target))
        if not len(taken):
            there = sorted(set(self.store.catalogue["target"].take(rows).to_pylist()))
            raise DataError(
                f"no pair of the target {target!r}",
                expected=f"one of {', '.join(there[:20])}",
                fix="correct the target",
            )
        return taken

    def _pictures(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        table = self.store.catalogue.select(PICTURE).take(rows).to_pydict()
        pictures: dict[tuple[object, ...], list[int]] = {}
        for row, key in zip(rows.tolist(), zip(*table.values(), strict=True), strict=True):
            pictures.setdefault(key, []).append(row)
        return [np.array(members) for members in pictures.values()]

    def __len__(self) -> int:
        """How many units."""
        return len(self._rows)

    def identity(self) -> str:
        """Of the pairs and their order; a store made again of the same files has the same."""
        names = self.store.catalogue["sample_id"].combine_chunks()
        ends = np.cumsum([len(rows) for rows in self._rows]).astype(str).tolist()  # where each unit's pairs end
        return hash_rows([names.take(np.concatenate(self._rows)).to_pylist(), ends])

    def unit(self, number: int) -> Unit:
        """What unit `number` is."""
        row = int(self._rows[number][0])
        return Unit(*(column[row].as_py() for column in self._names))

    def read(self, number: int) -> TrainingSlice:
        """Pixels and targets of unit `number`."""
        rows = self._rows[number].tolist()
        return TrainingSlice(self.store.slice_rgb(rows[0]), [self.store.pair(row)[1] for row in rows])


class PictureSource:
    """Pictures with label maps beside them, whose intensities are taken as they are.

    All are read once at the start, so that a bad one is known before the first step.

    Args:
        rows: Of index.csv (medsam.evaluation.index.read_index).
        target: Class id of the one to take; "" takes all.

    Raises:
        DataError: a target that is no number, no image has a target, or a mask is of another size than its image.
        IntensityError: a picture has more than 8 bits.
        InputFileError: a file is missing or damaged.
    """

    def __init__(self, rows: Sequence[IndexedPicture], target: str = "") -> None:
        if target and not target.isdigit():
            raise DataError(f"the target {target!r}", expected="its class id in the masks", fix="pass a number")
        self._label = int(target) if target else None
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(self._read, rows))
        self.rows = [row for row, slice_ in zip(rows, found, strict=True) if len(slice_.masks)]
        if not self.rows:
            raise DataError("no image has a target", expected="at least one", fix="check the masks and the split")

    def __len__(self) -> int:
        """How many units."""
        return len(self.rows)

    @property
    def pictures(self) -> int:
        """As many."""
        return len(self)

    def identity(self) -> str:
        """Of the files and their order, and of the target that was chosen."""
        rows = [(one.dataset, one.image.name, one.mask.name, one.mask_kind) for one in self.rows]
        return hash_rows([*rows, *([] if self._label is None else [("target", str(self._label))])])

    def unit(self, number: int) -> Unit:
        """What unit `number` is."""
        row = self.rows[number]
        return Unit(row.image.name, row.dataset, row.modality, row.licence)

    def read(self, number: int) -> TrainingSlice:
        """Pixels and targets of unit `number`."""
        return self._read(self.rows[number])

    def _read(self, row: IndexedPicture) -> TrainingSlice:
        slice_rgb, labels_HW = read_pair(row)
        if self._label is not None:
            labels_HW = np.where(labels_HW == self._label, labels_HW, 0)
        return TrainingSlice(slice_rgb, find_targets(labels_HW, row.mask_kind))


@dataclass(frozen=True)
class UserCase:
    """An image file and its label map, 2D or 3D; those of one patient are never divided."""

    name: str
    image: Path
    mask: Path
    patient: str = ""


def find_case_name(unit: str) -> str:
    """The case that a unit named NAME or NAME[slice] belongs to."""
    name, bracket, rest = unit.rpartition("[")
    return name if bracket and rest.removesuffix("]").isdigit() else unit


class CaseSource:
    """A user's own cases, normalized as serving does and kept in memory: every slice that has a target.

    Args:
        cases: Image and mask files.
        modality: Of all of them; None where the files or 8-bit pixels tell enough.
        window: Of CT, as for medsam segment.
    """

    def __init__(self, cases: Sequence[UserCase], *, modality: str | None, window: str | None) -> None:
        self._slices: list[tuple[Unit, NDArray[np.uint8], list[NDArray[np.uint8]]]] = []
        for case in cases:
            self._add(case, modality, window)
        if not self._slices:
            names = ", ".join(case.name for case in cases[:5])
            raise DataError(f"no slice of {names} has a target", expected="masks with foreground", fix="check them")

    def _add(self, case: UserCase, modality: str | None, window: str | None) -> None:
        try:
            image = normalize(read_image(case.image, modality=modality), window)
        except IntensityError as error:
            raise IntensityError(f"{case.image}: {error.got}", expected=error.expected, fix=error.fix) from None
        mask = read_mask(case.mask, reference=image)
        kind = image.modality.value if image.modality else "unknown"
        for k in np.flatnonzero(mask.labels.any(axis=(1, 2))).tolist():
            masks = find_targets(mask.labels[k], "labels")
            if len(masks):
                unit = Unit(f"{case.name}[{k}]" if len(mask.labels) > 1 else case.name, "cases", kind, "not stated")
                self._slices.append((unit, image.slice_rgb(k), [np.packbits(one) for one in masks]))

    def __len__(self) -> int:
        """How many units."""
        return len(self._slices)

    @property
    def pictures(self) -> int:
        """As many."""
        return len(self)

    def identity(self) -> str:
        """Of the slices, with their pixels and targets."""
        made = hashlib.sha256()
        for unit, pixels, masks in self._slices:
            made.update(unit.name.encode())
            for array in (pixels, *masks):
                made.update(np.ascontiguousarray(array).data)
        return made.hexdigest()

    def unit(self, number: int) -> Unit:
        """What unit `number` is."""
        return self._slices[number][0]

    def read(self, number: int) -> TrainingSlice:
        """Pixels and targets of unit `number`."""
        _, pixels, packed = self._slices[number]
        height, width = pixels.shape[:2]
        masks = [np.unpackbits(one, count=height * width).reshape(height, width).astype(bool) for one in packed]
        return TrainingSlice(pixels, masks)


class MixedSource:
    """Several sources one after the other."""

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        self.sources = list(sources)
        self._ends = np.cumsum([len(source) for source in sources]).tolist()

    def __len__(self) -> int:
        """How many units."""
        return int(self._ends[-1])

    @property
    def pictures(self) -> int:
        """Of all of them."""
        return sum(source.pictures for source in self.sources)

    def identity(self) -> str:
        """Of all of them in their order."""
        return hash_rows([[source.identity()] for source in self.sources])

    def _place(self, number: int) -> tuple[SampleSource, int]:
        which = bisect.bisect_right(self._ends, number)
        return self.sources[which], number - (self._ends[which - 1] if which else 0)

    def unit(self, number: int) -> Unit:
        """What unit `number` is."""
        source, inner = self._place(number)
        return source.unit(inner)

    def read(self, number: int) -> TrainingSlice:
        """Pixels and targets of unit `number`."""
        source, inner = self._place(number)
        return source.read(inner)
