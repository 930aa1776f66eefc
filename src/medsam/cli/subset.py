"""`medsam subset`: nested subsets of a store for the data-size study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def subset(
    store: Path,
    /,
    *,
    size: Annotated[list[int], Parameter(negative=())],
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    split: str = "train",
    balance: Literal["proportional", "root", "equal"] = "proportional",
    seed: int = 0,
) -> int:
    """List the pairs of nested subsets: the smaller is a part of the larger, and modalities keep their share.

    Parameters
    ----------
    store
        Folder of the store.
    size
        Pairs of a subset; give it again for further ones.
    output
        Folder for the lists, STORE/subsets without it; each is a Parquet file of sample ids.
    split
        The split to take from.
    balance
        Modalities in proportion, by the root of their size, or equally while they last.
    seed
        Of the choice.
    """
    from medsam.data.store import Store
    from medsam.data.subset import write_subsets

    for path, modalities in write_subsets(Store(store), size, output, split=split, balance=balance, seed=seed):
        counts = ", ".join(f"{name} {number:,}" for name, number in modalities.items())
        print(f"{path}: {counts}")
    return 0
