"""The measures of many pairs on all cores by the engine, against a plain loop over the published module; prints JSON.

Rows are the same in both: Dice, NSD at 2 pixels and the 95 % Hausdorff distance of every pair. Seconds are of a core (ours divided by the
workers), so that what else the machine does counts for neither.
"""

from __future__ import annotations

import json
import sys
import time
import types

import numpy as np
import scipy.ndimage

from medsam.engine import run
from medsam.evaluation.metrics import dice, measure_surfaces

PAIRS, SIDE, WORKERS, SHARD = 1000, 512, 2, 50
Row = tuple[float, float, float]


def draw_pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Two wavy discs of 512 x 512 pixels, of a size and a difference of their own."""
    rng = np.random.default_rng(number)
    centre, radius = rng.uniform(150, 362, 2), rng.uniform(15, 120)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    distance = np.hypot(y - centre[0], x - centre[1])
    angle = np.arctan2(y - centre[0], x - centre[1])
    first = distance < radius * (1 + 0.1 * np.sin(5 * angle))
    second = distance < radius * (1 + 0.1 * np.sin(5 * angle + rng.uniform(0, 1))) + rng.uniform(-3, 3)
    return first, second


def measure_shard(numbers: range) -> tuple[list[Row], float]:
    """The rows of some pairs, and the seconds of a core that measuring took, without drawing the pairs."""
    rows, seconds = [], 0.0
    for number in numbers:
        a, b = draw_pair(number)
        start = time.process_time()
        rows.append((dice(a, b), *measure_surfaces(a, b)))
        seconds += time.process_time() - start
    return rows, seconds


def measure_plainly(metrics: types.ModuleType, number: int) -> tuple[Row, float]:
    """The same row by the published module."""
    a, b = draw_pair(number)
    start = time.process_time()
    overlap = float(metrics.compute_dice_coefficient(a, b))
    distances = metrics.compute_surface_distances(a, b, (1.0, 1.0))
    row = (
        overlap,
        float(metrics.compute_surface_dice_at_tolerance(distances, 2.0)),
        float(metrics.compute_robust_hausdorff(distances, 95.0)),
    )
    return row, time.process_time() - start


def main() -> None:
    try:
        from surface_distance import metrics
    except ImportError:
        sys.exit("pip install Surface-Distance-Based-Measures")
    metrics.ndimage = types.SimpleNamespace(  # the package asks for names that SciPy dropped
        filters=types.SimpleNamespace(correlate=scipy.ndimage.correlate),
        morphology=types.SimpleNamespace(distance_transform_edt=scipy.ndimage.distance_transform_edt),
    )
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    shards = [range(start, min(start + SHARD, pairs)) for start in range(0, pairs, SHARD)]
    ours = list(run(measure_shard, shards, engine="processes", workers=WORKERS))
    rows = [row for part, _ in ours for row in part]
    plain = [measure_plainly(metrics, number) for number in range(pairs)]
    wall = sum(seconds for _, seconds in ours) / WORKERS
    loop = sum(seconds for _, seconds in plain)
    apart = float(np.abs(np.array(rows) - np.array([row for row, _ in plain])).max())
    json.dump(
        {
            "pairs": pairs, "pixels": f"{SIDE} x {SIDE}", "workers": WORKERS, "ours_seconds": round(wall, 2),
            "published_seconds": round(loop, 2), "times_as_fast": round(loop / wall, 1), "largest_difference": apart,
        },
        sys.stdout, indent=1,
    )  # fmt: skip


if __name__ == "__main__":
    main()
