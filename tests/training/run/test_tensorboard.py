"""Event files for TensorBoard, by switch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from runs import scalars
from tiny import CONFIG, train

from medsam.errors import MissingDependencyError
from medsam.training.run import sealed
from medsam.training.run.monitor import read_metrics


def test_tensorboard_has_every_step_once_when_a_run_goes_on(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, tensorboard=True, epochs=4)
    train(discs, tmp_path / "run", config)
    last = sealed.list_checkpoints(tmp_path / "run")[-1]
    (last / "state.json").unlink()  # as after a kill: steps beyond the checkpoint before come again
    train(discs, tmp_path / "run", config, resume=True)
    found, lines = scalars(tmp_path / "run"), read_metrics(tmp_path / "run")
    assert [step for step, _ in found["loss"]] == list(range(1, 10))
    losses = [float(str(line["loss"])) for line in lines if "loss" in line]
    assert [value for _, value in found["loss"]] == pytest.approx(losses)
    assert {"learning_rate", "gradient_norm", "samples_per_second", "memory_mib"} <= found.keys()
    assert [step for step, _ in found["tune_dice_by_modality/unknown"]] == [0, 4, 8, 9]
    assert [step for step, _ in found["examples"]] == [0, 4, 8, 9]


def test_tensorboard_that_is_not_there_is_refused_before_anything_is_written(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # type: ignore[arg-type]
    with pytest.raises(MissingDependencyError, match=r"pip install \"openmedsam\[tracking\]\""):
        train(discs, tmp_path / "run", replace(CONFIG, tensorboard=True))
    assert not (tmp_path / "run").exists()
