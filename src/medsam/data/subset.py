"""Nested subsets of a store as lists of sample ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from medsam.data.store.reading import Store
from medsam.data.store.split import Balance, order_subset
from medsam.data.store.tables import write_table
from medsam.errors import DataError, OutputError


def write_subsets(
    store: Store,
    sizes: Sequence[int],
    folder: Path | None,
    *,
    split: str = "train",
    balance: Balance = "proportional",
    seed: int = 0,
    overwrite: bool = False,
) -> list[tuple[Path, dict[str, int]]]:
    """Write one list per size; each list is the beginning of the next.

    Args:
        store: Where from.
        sizes: Pairs of each subset.
        folder: Where to; None for `subsets` inside the store.
        split: The split to take from.
        balance: How modalities share a subset.
        seed: Of the choice.
        overwrite: Whether lists that exist may be replaced.

    Returns:
        Path and pairs by modality, per subset.

    Raises:
        DataError: a size below 1 or above what the split has.
        OutputError: a list exists; nothing was written.

    Source: paper, Results, "The effect of training dataset size" (10K, 100K, all).
    """
    chosen = store.catalogue.take(pa.array(store.rows(split=split)))
    for size in sizes:
        if not 1 <= size <= len(chosen):
            raise DataError(
                f"a subset of {size:,} pairs",
                expected=f"1 to the {len(chosen):,} of split {split}",
                fix="pass another --size",
            )
    ids, kinds = chosen["sample_id"].to_pylist(), chosen["modality"].to_pylist()
    order = order_subset(ids, kinds, seed=seed, balance=balance)
    lists = folder or store.path / "subsets"
    paths = {size: lists / f"{split}-{balance}-{seed}-{size}.parquet" for size in sorted(set(sizes))}
    existing = [path for path in paths.values() if path.exists()]
    if existing and not overwrite:
        raise OutputError(f"{existing[0]} exists", expected="a new list", fix="write elsewhere, or pass --overwrite")
    out = []
    for size, path in paths.items():
        members = [int(i) for i in order[:size]]
        write_table(pa.table({"sample_id": [ids[i] for i in members], "modality": [kinds[i] for i in members]}), path)
        out.append((path, dict(Counter(kinds[i] for i in members).most_common())))
    return out
