"""What the parts of a run share: how many steps there are, and when to measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import CONFIG, build


@pytest.mark.parametrize(
    ("change", "total", "between"),
    [
        ({"epochs": 2, "validate_every": 4}, 5, 4),  # nine units twice, in steps of four
        ({"epochs": 2, "validate_every": 0}, 5, 2),  # an epoch is 9 / 4 steps
        ({"epochs": 1, "validate_every": 0, "global_batch": 40, "micro_batch": 1}, 1, 1),
        ({"steps": 7}, 7, 4),
    ],
)
def test_steps_are_counted_from_the_units_there_are(
    discs: Path, tmp_path: Path, change: dict[str, int], total: int, between: int
) -> None:
    run = build(discs, tmp_path, replace(CONFIG, **change))
    assert (run.units, run.total, run.steps_between_measurements) == (9, total, between)
