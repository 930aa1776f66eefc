"""The JSON files of a store, read with checks and written whole: what a damaged one says is never believed.

A name of a shard becomes a part of a path, and folders are removed by it, so that it is checked before anything else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from medsam.data.store.shards import ShardSummary
from medsam.data.store.tables import write_changed
from medsam.errors import DataError
from medsam.io.guard import guarded

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class DatasetRecord:
    """What a store says about one of its data sets, in datasets/NAME.json.

    Args:
        name: Of the data set.
        modality, licence: Of its card.
        external: Whether all of it is held out.
        complete: Whether every shard was made.
        shards: Their names.
        targets: The label ids of each target; empty where a store is older than this field.
    """

    name: str
    modality: str
    licence: str
    external: bool
    complete: bool
    shards: tuple[str, ...]
    targets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass
class Counts:
    """What was read of a data set, and what became of it.

    `unseen` has the targets that no mask held, with the ids that were asked for, and `unknown_ids` the ids that masks
    held and no target asks for.
    """

    modality: str = ""
    licence: str = ""
    complete: bool = True
    summary: ShardSummary = field(default_factory=ShardSummary)
    excluded_cases: dict[str, int] = field(default_factory=dict)
    excluded_pairs: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    unseen: dict[str, list[int]] = field(default_factory=dict)
    unknown_ids: list[int] = field(default_factory=list)

    @property
    def lost(self) -> str:
        """Which targets no mask held although it should, in words; empty where all is well.

        A target that no mask held is one where masks hold ids that nobody asked for: the id on the card is then wrong.
        """
        found = f"masks hold the ids {', '.join(map(str, self.unknown_ids))}" if self.unknown_ids else ""
        if self.unseen and (found or not self.summary.pairs_read):
            asked = ", ".join(f"{name} = {', '.join(map(str, ids)) or 'any'}" for name, ids in self.unseen.items())
            return f"no mask holds {asked}; {found or 'its masks are empty or cannot be read'}"
        return ""


def read_records(store: Path) -> list[DatasetRecord]:
    """Every data set of a store, by name.

    Raises:
        InputFileError: a record is damaged.
        DataError: it names a shard that is no name.
    """
    return [read_record(path) for path in sorted((store / "datasets").glob("*.json"))]


def read_record(path: Path) -> DatasetRecord:
    """One data set of a store.

    Raises:
        InputFileError, DataError: as read_records.
    """

    def make(raw: dict[str, Any]) -> DatasetRecord:
        return DatasetRecord(
            name=_take(raw, "name", str),
            modality=_take(raw, "modality", str),
            licence=_take(raw, "licence", str),
            external=_take(raw, "external", bool),
            complete=_take(raw, "complete", bool),
            shards=tuple(check_name(name) for name in _take(raw, "shards", list)),
            targets={name: tuple(int(i) for i in ids) for name, ids in raw.get("targets", {}).items()},
        )

    return _read(path, make)


def check_name(name: object) -> str:
    """The name of a folder inside a store.

    Raises:
        DataError: it would lead elsewhere.
    """
    text = str(name)
    if not isinstance(name, str) or not text or text.startswith(".") or set("/\\\0") & set(text):
        raise DataError(
            "a store names a folder that is none of its own",
            expected="a store made by `medsam curate`",
            fix="do not use this store, or curate it again",
        )
    return text


def read_report(store: Path) -> tuple[dict[str, Counts], int]:
    """Counts by data set, and how many near-duplicates lie in different splits.

    Raises:
        InputFileError: the report is missing or damaged.
    """

    def make(raw: dict[str, Any]) -> tuple[dict[str, Counts], int]:
        counts = {name: _make_counts(entry) for name, entry in _take(raw, "datasets", dict).items()}
        return counts, _take(raw, "near_duplicates", int)

    return _read(store / "report.json", make)


def write_report(store: Path, counts: Mapping[str, Counts], near_duplicates: int) -> None:
    """Write report.json."""
    datasets = {name: asdict(count) for name, count in counts.items()}
    write_json(store / "report.json", {"datasets": datasets, "near_duplicates": near_duplicates})


def _make_counts(raw: dict[str, Any]) -> Counts:
    return Counts(
        modality=_take(raw, "modality", str),
        licence=_take(raw, "licence", str),
        complete=_take(raw, "complete", bool),
        summary=make_summary(_take(raw, "summary", dict)),
        excluded_cases={str(reason): int(count) for reason, count in raw["excluded_cases"].items()},
        excluded_pairs={str(reason): int(count) for reason, count in raw["excluded_pairs"].items()},
        faults=_take(raw, "faults", int),
        unseen={str(name): [int(i) for i in ids] for name, ids in raw.get("unseen", {}).items()},
        unknown_ids=[int(i) for i in raw.get("unknown_ids", [])],
    )


def make_summary(raw: dict[str, Any]) -> ShardSummary:
    """The counts of a shard, from JSON."""
    return ShardSummary(**{one.name: _take(raw, one.name, int) for one in fields(ShardSummary)})


def read_summary(folder: Path) -> ShardSummary:
    """The counts of a shard.

    Raises:
        InputFileError: they are missing or damaged.
    """
    return _read(folder / "shard.json", make_summary)


def write_json(path: Path, value: object) -> None:
    """Write JSON whole or not at all; a file that holds it already is left alone."""
    write_changed(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _read(path: Path, make: Callable[[dict[str, Any]], _Made]) -> _Made:
    with guarded(path, "a store made by `medsam curate`"):
        return make(json.loads(path.read_text(encoding="utf-8")))


def _take(raw: dict[str, Any], name: str, kind: type[_Made]) -> _Made:
    value = raw[name]
    if not isinstance(value, kind):
        raise TypeError(name)
    return value
