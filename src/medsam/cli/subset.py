"""`medsam subset`: nested subsets of a store for the data-size study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import Overwrite, ThisTerminal


def subset(
    store: Path,
    /,
    *,
    size: Annotated[list[int], Parameter(negative=())],
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    split: str = "train",
    balance: Literal["proportional", "root", "equal"] = "proportional",
    seed: int = 0,
    overwrite: Overwrite = False,
    terminal: ThisTerminal,
) -> None:
    """List the pairs of nested subsets: the smaller is a part of the larger, and modalities keep their share.

    Example: medsam subset store/ --size 1000 --size 10000

    Args:
        store: Folder of the store.
        size: Pairs of a subset; give it again for further ones.
        output: Folder for the lists, STORE/subsets without it; each is a Parquet file of sample ids.
        split: The split to take from.
        balance: Modalities in proportion, by the root of their size, or equally while they last.
        seed: Of the choice.
    """
    from medsam.data.store.reading import Store
    from medsam.data.subset import write_subsets

    lists = write_subsets(Store(store), size, output, split=split, balance=balance, seed=seed, overwrite=overwrite)
    lines = [f"{path}: {', '.join(f'{name} {n:,}' for name, n in counts.items())}\n" for path, counts in lists]
    terminal.report([{"list": str(path), "pairs": dict(counts)} for path, counts in lists], "".join(lines))
