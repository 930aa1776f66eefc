"""Runs looked back at, from what they leave on the disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import CONFIG

from medsam.errors import DataError
from medsam.training.config import TrainConfig
from medsam.training.run.history import compare_settings, find_runs, name_runs, summarize_run


def leave(folder: Path, config: TrainConfig = CONFIG) -> Path:
    """What a run of three steps leaves that was measured at 0, 2 and 3 and then stopped."""
    (folder / "checkpoints/step-00000003").mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json())
    lines = [{"step": 0, "tune_dice": 0.5}, *({"step": s, "loss": loss} for s, loss in ((1, 0.9), (2, 0.5)))]
    lines += [{"step": 2, "tune_dice": 0.8}, {"step": 3, "loss": None}, {"step": 3, "tune_dice": 0.7}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo')
    state = {"format": 1, "progress": {"step": 3, "seconds": 12.5}, "sha256": {}}
    (folder / "checkpoints/step-00000003/state.json").write_text(json.dumps(state))
    return folder


def test_a_run_in_a_line_by_hand(tmp_path: Path) -> None:
    found = summarize_run(leave(tmp_path / "run"))
    assert (found.step, found.finished, found.seconds) == (3, False, 12.5)
    assert found.loss == pytest.approx(0.7)  # of the two that were finite
    assert (found.dice_before, found.dice_best, found.best_step, found.dice_last) == (0.5, 0.8, 2, 0.7)
    (tmp_path / "run/model.safetensors").touch()
    assert summarize_run(tmp_path / "run").finished


def test_runs_are_found_in_a_folder_and_right_below_it(tmp_path: Path) -> None:
    runs = [leave(tmp_path / name) for name in ("a", "b")]
    assert find_runs(tmp_path) == runs
    assert find_runs(runs[0]) == runs[:1]
    with pytest.raises(DataError, match="has no run"):
        find_runs(runs[0] / "checkpoints")


def test_names_and_the_settings_that_differ(tmp_path: Path) -> None:
    one, two = leave(tmp_path / "x/one"), leave(tmp_path / "x/two", replace(CONFIG, name="other", seed=3))
    twin = leave(tmp_path / "y/one")
    assert name_runs([one, two]) == ["one", "two"]
    assert name_runs([one, twin]) == [str(one), str(twin)]
    assert compare_settings([one, two, twin]) == {"seed": [0, 3, 0]}
