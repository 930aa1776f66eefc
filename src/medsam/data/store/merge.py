"""From the shards of a store to its one catalogue, its split, its list of exclusions and duplicates, and its report."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from medsam.data.cases.case import parse_unknown_ids
from medsam.data.cases.quality import Reason
from medsam.data.store.duplicates import find_near_duplicates
from medsam.data.store.records import Counts, DatasetRecord, read_records, read_summary, write_report
from medsam.data.store.shards import ShardSummary
from medsam.data.store.split import EXTERNAL, SPLITS, choose_split, refuse_divided_groups
from medsam.data.store.tables import DUPLICATES, EXCLUDED, PAIRS, read_table, write_table


def merge(store: Path, *, seed: int, fractions: tuple[float, float, float]) -> tuple[dict[str, Counts], int]:
    """Write catalogue.parquet, excluded.parquet, duplicates.parquet and report.json from the shards.

    Returns:
        Counts by data set, and how many near-duplicates lie in different splits.

    Raises:
        DataError: a group in two splits, or a shard that cannot be read.
        OutputError: the disk refused.
    """
    pairs, excluded, counts = [PAIRS.empty_table()], [EXCLUDED.empty_table()], {}
    external = set()
    for record in read_records(store):
        folders = [store / "shards" / name for name in record.shards]
        kept = [read_table(folder / "pairs.parquet", schema=PAIRS) for folder in folders]
        left_out = pa.concat_tables(
            [EXCLUDED.empty_table(), *(read_table(folder / "excluded.parquet", schema=EXCLUDED) for folder in folders)]
        )
        pairs += kept
        excluded.append(left_out)
        counts[record.name] = _count(record, folders, kept, left_out)
        if record.external:
            external.add(record.name)
    table = pa.concat_tables(pairs).unify_dictionaries()
    table = table.append_column("split", _splits(table, external, seed, fractions))
    duplicates = _duplicates(table)
    for name, content in (
        ("catalogue", table),
        ("excluded", pa.concat_tables(excluded).unify_dictionaries()),
        ("duplicates", duplicates),
    ):
        write_table(content, store / f"{name}.parquet")
    write_report(store, counts, len(duplicates))
    return counts, len(duplicates)


def _count(record: DatasetRecord, folders: list[Path], kept: list[pa.Table], excluded: pa.Table) -> Counts:
    total = ShardSummary()
    for folder in folders:
        for name, value in asdict(read_summary(folder)).items():
            setattr(total, name, getattr(total, name) + value)
    cases, pairs, seen, unknown = Counter[str](), Counter[str](), set[str](), set[int]()
    for table in kept:
        seen.update(table["target"].unique().to_pylist())
    for row in excluded.select(["reason", "pairs", "target", "detail"]).to_pylist():
        cases[row["reason"]] += not row["pairs"]
        pairs[row["reason"]] += row["pairs"]
        if row["pairs"]:
            seen.add(row["target"])
        if row["reason"] == Reason.UNKNOWN_LABEL:
            unknown.update(parse_unknown_ids(row["detail"]))
    faults = int(np.count_nonzero(excluded["fault"].to_numpy(zero_copy_only=False))) if len(excluded) else 0
    return Counts(
        record.modality,
        record.licence,
        record.complete,
        total,
        _sorted(cases),
        _sorted(pairs),
        faults,
        {name: list(ids) for name, ids in record.targets.items() if name not in seen},
        sorted(unknown),
    )


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in sorted(counter.items()) if count}


def _splits(table: pa.Table, external: set[str], seed: int, fractions: tuple[float, float, float]) -> pa.Array:
    """The split of every row; decided once per group."""
    groups, datasets = table["group"].combine_chunks(), table["dataset"].combine_chunks()
    by_group: dict[tuple[str, str], str] = {}
    keys = list(zip(groups.to_pylist(), datasets.to_pylist(), strict=True))
    for group, dataset in dict.fromkeys(keys):
        by_group[group, dataset] = (
            EXTERNAL if dataset in external else choose_split(group, seed=seed, fractions=fractions)
        )
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
    matches = find_near_duplicates(hashes, splits)
    columns: dict[str, list[object]] = {}
    for side, places in (("a", [m.first for m in matches]), ("b", [m.second for m in matches])):
        part = chosen.take(pa.array(places, pa.int64()))
        for name in ("dataset", "file", "slice", "split"):
            columns[f"{name}_{side}"] = part[name].to_pylist()
    return pa.table({**columns, "distance": [m.distance for m in matches]}, schema=DUPLICATES)
