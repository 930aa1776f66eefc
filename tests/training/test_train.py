"""The run of test size in docs/training.md by its commands: real pictures to a store, a subset, a better model."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.cli.app import run
from medsam.models.weights.catalog import fetch
from medsam.training.run.monitor import read_metrics

RECIPE = Path(__file__).resolve().parents[2] / "recipes/test-size.toml"
CARDS = ("shared-fundus-drishti", "shared-us-mixed", "shared-oct-duke")


@pytest.mark.integration
def test_loss_falls_and_dice_rises_from_real_pictures(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("lite-medsam")
    monkeypatch.chdir(tmp_path)
    assert run(["curate", *CARDS, "--root", str(shared_data), "-o", "store", "--workers", "1"]) == 0
    assert run(["subset", "store", "--size", "24", "--balance", "equal"]) == 0
    assert run(["train", "--config", str(RECIPE), "-o", "run", "--device", "cpu"]) == 0
    lines = read_metrics(tmp_path / "run")
    losses = [float(str(line["loss"])) for line in lines if "loss" in line]
    half = len(losses) // 2
    assert sum(losses[half:]) / len(losses[half:]) < sum(losses[:half]) / half
    first, last = (float(str(line["tune_dice"])) for line in lines if "tune_dice" in line)
    assert last > first
    assert "| shared-oct-duke | OCT | " in (tmp_path / "run/README.md").read_text()
