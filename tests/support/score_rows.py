"""Score rows whose tables, ranks and figures a reader can work out by hand."""

from __future__ import annotations

from dataclasses import replace

from medsam.evaluation.measure import Score

ONE = Score("us_a", "ultrasound", "0.png", "p0", 0, 1, 120, "ours", 0.5, 0.25, 0.1, name="nerve", iou=1 / 3,
            precision=0.5, recall=0.5, hd95=3.0, volume_error=0.0, quality=0.4)  # fmt: skip


def rows(method: str, dices: list[float], *, dataset: str = "us_a", modality: str = "ultrasound") -> list[Score]:
    """One case a patient, with these Dice; the NSD is half of it."""
    return [
        replace(
            ONE,
            dataset=dataset,
            modality=modality,
            sample=f"{i}.png",
            group=f"p{i}",
            method=method,
            dice=dice,
            nsd=dice / 2,
            pixels=100 * (i + 1),
            iou=dice / (2 - dice),
        )
        for i, dice in enumerate(dices)
    ]


def three_tasks() -> list[Score]:
    """Three models in three tasks: medians 0.9 0.8 0.7; 0.6 0.8 0.8; 0.5 0.5 0.5."""
    by_task = {
        "us_a": {"a": [0.9, 0.8, 0.95], "b": [0.8, 0.7, 0.9], "c": [0.7, 0.6, 0.75]},
        "us_b": {"a": [0.6], "b": [0.8], "c": [0.8]},
        "us_c": {"a": [0.5, 0.5], "b": [0.5, 0.5], "c": [0.5, 0.5]},
    }
    return [
        s for dataset, models in by_task.items() for m, dices in models.items() for s in rows(m, dices, dataset=dataset)
    ]
