"""Near-duplicates across splits: pictures whose perceptual hashes differ in a few bits, found by bands."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 15  # of 256 bits; 16 bands of 16 bits then share at least one band exactly
BANDS = 16
MAX_BUCKET = 2000  # a band value this common says nothing (blank borders); such a bucket is compared by neighbours only


@dataclass(frozen=True)
class Match:
    """Two pictures by index, first < second, and how many of 256 bits differ."""

    first: int
    second: int
    distance: int


def find_near_duplicates(
    hashes_N32: NDArray[np.uint8], splits_N: NDArray[np.int64], max_distance: int = MAX_DISTANCE
) -> list[Match]:
    """Every two pictures of different splits whose hashes differ in at most max_distance bits.

    Args:
        hashes_N32: (N, 32) uint8, a perceptual hash per picture.
        splits_N: (N,) a number per split.
        max_distance: At most 15, below which two hashes agree in one of 16 bands for sure.

    Returns:
        Matches sorted by index.
    """
    found: dict[tuple[int, int], int] = {}
    bands = hashes_N32.reshape(-1, BANDS, 2).copy().view(np.uint16)[..., 0]
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(band[order]) != 0, True])
        for start, stop in pairwise(starts):
            bucket = order[start:stop]
            if stop - start > 1 and (splits_N[bucket] != splits_N[bucket[0]]).any():
                _compare(bucket, hashes_N32, splits_N, max_distance, found)
    return [Match(a, b, distance) for (a, b), distance in sorted(found.items())]


def _compare(
    bucket: np.ndarray, hashes: NDArray[np.uint8], splits: np.ndarray, limit: int, found: dict[tuple[int, int], int]
) -> None:
    """Compare the pictures of one bucket, each with those after it."""
    if len(bucket) > MAX_BUCKET:  # sorted by the whole hash, duplicates are near each other
        bucket = bucket[np.lexsort(hashes[bucket].T)]
    span = len(bucket) if len(bucket) <= MAX_BUCKET else MAX_BUCKET // 10
    for place, one in enumerate(bucket[:-1]):
        others = bucket[place + 1 : place + 1 + span]
        others = others[splits[others] != splits[one]]
        if not len(others):
            continue
        distances = np.bitwise_count(hashes[others] ^ hashes[one]).sum(axis=1, dtype=np.int64)
        for other, distance in zip(others[distances <= limit], distances[distances <= limit], strict=True):
            found[(min(int(one), int(other)), max(int(one), int(other)))] = int(distance)
