"""From the shards of a store to its one catalogue, its split, its list of exclusions and duplicates, and its report."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from medsam.data.catalogue import DUPLICATES, EXCLUDED, PAIRS, read_table, write_changed, write_table
from medsam.data.duplicates import near_duplicates
from medsam.data.shards import Summary, read_summary
from medsam.data.split import EXTERNAL, SPLITS, refuse_divided_groups, split_of


@dataclass
class Counts:
    """What was read of a data set, and what became of it."""

    modality: str = ""
    licence: str = ""
    complete: bool = True
    summary: Summary = field(default_factory=Summary)
    excluded_cases: dict[str, int] = field(default_factory=dict)
    excluded_pairs: dict[str, int] = field(default_factory=dict)
    faults: int = 0


def merge(store: Path, *, seed: int, fractions: tuple[float, float, float]) -> tuple[dict[str, Counts], int]:
    """Write catalogue.parquet, excluded.parquet, duplicates.parquet and report.json from the shards.

    Returns:
        Counts by data set, and how many near-duplicates lie in different splits.

    Raises:
        DataError: a group in two splits, or a shard that cannot be read.
        OutputError: the disk refused.
    """
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((store / "datasets").glob("*.json"))]
    pairs, excluded, counts = [PAIRS.empty_table()], [EXCLUDED.empty_table()], {}
    external = set()
    for entry in entries:
        folders = [store / "shards" / name for name in entry["shards"]]
        pairs += [read_table(folder / "pairs.parquet") for folder in folders]
        left_out = pa.concat_tables(
            [EXCLUDED.empty_table(), *(read_table(folder / "excluded.parquet") for folder in folders)]
        )
        excluded.append(left_out)
        counts[entry["name"]] = _counted(entry, folders, left_out)
        if entry["external"]:
            external.add(entry["name"])
    table = pa.concat_tables(pairs).unify_dictionaries()
    table = table.append_column("split", _splits(table, external, seed, fractions))
    duplicates = _duplicates(table)
    for name, content in (
        ("catalogue", table),
        ("excluded", pa.concat_tables(excluded).unify_dictionaries()),
        ("duplicates", duplicates),
    ):
        write_table(content, store / f"{name}.parquet")
    _write_report(store, counts, duplicates)
    return counts, len(duplicates)


def _counted(entry: dict[str, object], folders: list[Path], excluded: pa.Table) -> Counts:
    total = Summary()
    for folder in folders:
        for name, value in asdict(read_summary(folder)).items():
            setattr(total, name, getattr(total, name) + value)
    cases, pairs = Counter[str](), Counter[str]()
    for row in excluded.select(["reason", "pairs"]).to_pylist():
        cases[row["reason"]] += not row["pairs"]
        pairs[row["reason"]] += row["pairs"]
    faults = int(np.count_nonzero(excluded["fault"].to_numpy(zero_copy_only=False))) if len(excluded) else 0
    return Counts(
        str(entry["modality"]),
        str(entry["licence"]),
        bool(entry["complete"]),
        total,
        _sorted(cases),
        _sorted(pairs),
        faults,
    )


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def _splits(table: pa.Table, external: set[str], seed: int, fractions: tuple[float, float, float]) -> pa.Array:
    """The split of every row; decided once per group."""
    groups, datasets = table["group"].combine_chunks(), table["dataset"].combine_chunks()
    by_group: dict[tuple[str, str], str] = {}
    keys = list(zip(groups.to_pylist(), datasets.to_pylist(), strict=True))
    for group, dataset in dict.fromkeys(keys):
        by_group[group, dataset] = EXTERNAL if dataset in external else split_of(group, seed=seed, fractions=fractions)
    refuse_divided_groups((group for group, _ in by_group), by_group.values())
    return pa.array([by_group[key] for key in keys], pa.string()).dictionary_encode()


def _duplicates(table: pa.Table) -> pa.Table:
    """Near-duplicates in different splits, one row per two pictures."""
    if not len(table):
        return DUPLICATES.empty_table()
    images = table.select(["image_sha256", "perceptual_hash", "split", "dataset", "file", "slice", "window"])
    keys = list(
        zip(images["dataset"].to_pylist(), images["file"].to_pylist(), images["slice"].to_pylist(), strict=True)
    )
    first = {key: place for place, key in reversed(list(enumerate(keys)))}
    chosen = images.take(pa.array(sorted(first.values())))
    hashes = np.frombuffer(b"".join(chosen["perceptual_hash"].to_pylist()), dtype=np.uint8).reshape(-1, 32)
    names = [*SPLITS, EXTERNAL]
    splits = np.array([names.index(split) for split in chosen["split"].to_pylist()])
    matches = near_duplicates(hashes, splits)
    columns: dict[str, list[object]] = {}
    for side, places in (("a", [m.first for m in matches]), ("b", [m.second for m in matches])):
        part = chosen.take(pa.array(places, pa.int64()))
        for name in ("dataset", "file", "slice", "split"):
            columns[f"{name}_{side}"] = part[name].to_pylist()
    return pa.table({**columns, "distance": [m.distance for m in matches]}, schema=DUPLICATES)


def _write_report(store: Path, counts: dict[str, Counts], duplicates: pa.Table) -> None:
    value = {"datasets": {name: asdict(count) for name, count in counts.items()}, "near_duplicates": len(duplicates)}
    write_changed(store / "report.json", (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())
