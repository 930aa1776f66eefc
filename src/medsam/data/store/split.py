"""Which split a pair belongs to, and nested subsets for the data-size study: pure functions of names and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError

SPLITS = ("train", "tune", "val")
EXTERNAL = "external"
FRACTIONS = (0.8, 0.1, 0.1)  # paper, Methods, Training protocol
Balance = Literal["proportional", "equal", "root"]
_POWER: dict[str, float] = {"proportional": 1.0, "root": 0.5, "equal": 0.0}


def choose_split(group: str, *, seed: int, fractions: Sequence[float] = FRACTIONS) -> str:
    """The split of a group: a hash of its name and the seed, so nothing that is added later can move it.

    Args:
        group: With the name of the space it is unique in.
        seed: Another seed makes another split.
        fractions: Of train, tune and val; they sum to 1.
    """
    position = _unit(str(seed), "split", group)
    bounds = np.cumsum(fractions)
    return SPLITS[int(np.searchsorted(bounds[:-1], position, side="right"))]


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """Three fractions from 0 that sum to 1.

    Raises:
        DataError: they do not.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise DataError(
            f"the split is {list(fractions)}", expected="three fractions that sum to 1", fix="pass --split 0.8,0.1,0.1"
        )
    return float(fractions[0]), float(fractions[1]), float(fractions[2])


def refuse_divided_groups(groups: Iterable[str], splits: Iterable[str]) -> None:
    """Refuse a group that lies in two splits.

    Raises:
        DataError: naming how many and the first.
    """
    home: dict[str, str] = {}
    divided = {}
    for group, split in zip(groups, splits, strict=True):
        if home.setdefault(group, split) != split:
            divided[group] = f"{home[group]} and {split}"
    if divided:
        group, both = next(iter(sorted(divided.items())))
        raise DataError(
            f"{len(divided)} groups lie in two splits, the first is {group} in {both}",
            expected="every group (patient, scan, video, slide) in one split",
            fix="hold out every data set that shares these groups (--external), or none of them",
        )


def order_subset(
    sample_ids: Sequence[str], modalities: Sequence[str], *, seed: int, balance: Balance = "proportional"
) -> NDArray[np.int64]:
    """The order in which samples enter a subset: the first n are the subset of n, so subsets nest.

    Within a modality the order is by hash; sample i of a modality with N samples enters at (i + 0.5) / N ** power, so
    modalities grow in proportion (power 1), by the root of their size, or equally until they are used up (power 0).

    Returns:
        (len(sample_ids),) indices.
    """
    if balance not in _POWER:
        raise DataError(f"balance is {balance!r}", expected=f"one of {', '.join(_POWER)}", fix="choose one of them")
    ranks = np.array([_unit(str(seed), "subset", sample) for sample in sample_ids])
    kinds = np.asarray(modalities)
    entry = np.empty(len(ranks))
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        order = members[np.argsort(ranks[members], kind="stable")]
        entry[order] = (np.arange(len(order)) + 0.5) / len(order) ** _POWER[balance]
    return np.lexsort((ranks, entry))


def _unit(*parts: str) -> float:
    """A number in [0, 1) that only the parts decide."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:7], "big") / (1 << 56)
