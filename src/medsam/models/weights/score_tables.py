"""From a model's own score of a mask to the IoU that masks of that score had on data with expert masks.

A table belongs to one weights file, by its sha256: weights trained or averaged from it give other scores. It is made by
benchmarks/calibration.py; docs/accuracy.md says on what, and how far it is off on data sets it was not made from.
"""

from __future__ import annotations

from collections.abc import Mapping

ScoreTable = tuple[tuple[float, float], ...]

SCORE_TABLES: Mapping[str, ScoreTable] = {
    # lite-medsam: the stability of its logits, which says nothing of the IoU by itself
    "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76": (
        (0.0, 0.0), (0.27, 0.193), (0.575, 0.321), (0.67, 0.399), (0.737, 0.469), (0.794, 0.605), (0.857, 0.65),
        (0.899, 0.818), (0.932, 0.819), (1.0, 0.887),
    ),
}  # fmt: skip
"""sha256 to (score, expected IoU); both rise strictly, so that the order of masks stays. Between them it is a straight line."""
