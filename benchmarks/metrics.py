"""NSD against the published surface-distance package, on equal masks in one run; prints JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
import types
from collections.abc import Callable

import numpy as np
import scipy.ndimage

from medsam.evaluation.metrics import normalized_surface_distance

REPEATS = 5


def timed(function: Callable[[], float]) -> tuple[float, float]:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), float(value)


def published() -> types.ModuleType | None:
    """The package, which still asks for names that SciPy dropped; None where it is not installed."""
    try:
        from surface_distance import metrics
    except ImportError:
        return None
    metrics.ndimage = types.SimpleNamespace(
        filters=types.SimpleNamespace(correlate=scipy.ndimage.correlate),
        morphology=types.SimpleNamespace(distance_transform_edt=scipy.ndimage.distance_transform_edt),
    )
    return metrics


def pictures() -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Two wavy discs of 1024 x 1024 pixels."""
    y, x = np.mgrid[:1024, :1024] - 512
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    return radius < 300 + 15 * np.sin(9 * angle), radius < 303 + 15 * np.sin(11 * angle), (1.0, 1.0)


def volumes() -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Two wavy balls of 100 x 512 x 512 voxels of 2.5 x 0.8 x 0.8 mm."""
    z, y, x = np.ogrid[:100, :512, :512]
    radius = np.sqrt(((z - 50) * 2.5) ** 2 + ((y - 256) * 0.8) ** 2 + ((x - 256) * 0.8) ** 2)
    angle = np.arctan2(y - 256, x - 256)
    return radius < 90 + 3 * np.sin(7 * angle), radius < 92 + 3 * np.sin(9 * angle), (2.5, 0.8, 0.8)


def main() -> None:
    package = published()
    result = {}
    for name, (a, b, spacing) in (("1024 x 1024", pictures()), ("512 x 512 x 100", volumes())):
        ours, value = timed(lambda a=a, b=b, s=spacing: normalized_surface_distance(a, b, spacing_mm=s))
        row = {"ours_s": round(ours, 5), "nsd": round(value, 6)}
        if package is not None:
            theirs, other = timed(
                lambda a=a, b=b, s=spacing: package.compute_surface_dice_at_tolerance(
                    package.compute_surface_distances(a, b, s), 2.0
                )
            )
            row |= {"surface_distance_s": round(theirs, 5), "nsd_surface_distance": round(other, 6)}
            row["ratio"] = round(theirs / ours, 2)
        result[name] = row
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
