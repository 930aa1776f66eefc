"""The tuning split measured in time, and what checkpoints learn of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tiny import CONFIG, train

from medsam.training.run import sealed
from medsam.training.run.monitor import read_metrics


def test_a_checkpoint_learns_of_the_measurement_at_its_step(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=4)
    train(discs, tmp_path / "run", config)
    last = sealed.list_checkpoints(tmp_path / "run")[-1] / "state.json"
    whole = json.loads(last.read_text())
    before = {**whole["progress"], "measured_step": 8, "best_score": -1.0, "best_step": 0}
    last.write_text(json.dumps({**whole, "progress": before}))
    train(discs, tmp_path / "run", config, resume=True)
    again = json.loads(last.read_text())["progress"]
    assert again["measured_step"] == 9
    assert again["best_score"] >= 0
    assert [line["step"] for line in read_metrics(tmp_path / "run") if "loss" not in line] == [0, 4, 8, 9]
