"""Checkpoints of a run: damaged ones, those of another model, and a disk that is full in mid-save."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest
from runs import same, weights
from tiny import CONFIG, Watched, source, steps_done, train

from medsam.errors import CheckpointError, DataError, OutputError
from medsam.training.run import sealed


def test_a_damaged_checkpoint_is_passed_over(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run")
    before = weights(tmp_path / "run")
    latest = sealed.list_checkpoints(tmp_path / "run")[-1] / "optimizer.pt"
    latest.write_bytes(latest.read_bytes()[:-5])
    train(discs, tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run"), before)
    for folder in sealed.list_checkpoints(tmp_path / "run"):
        (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 2 checkpoints"):
        train(discs, tmp_path / "run", resume=True)


def test_a_checkpoint_of_other_parts_is_refused(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run")
    adapted = replace(CONFIG, encoder="lora")
    (tmp_path / "run/config.json").write_text(adapted.to_json())
    with pytest.raises(CheckpointError, match="does not fit the model"):
        train(discs, tmp_path / "run", adapted, resume=True)


def test_a_full_disk_in_mid_save_leaves_the_checkpoints_before(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, validate_every=100, examples=0)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(number: int) -> None:
        del number
        if steps_done(tmp_path / "run") == 3:  # the system refuses every larger file from here on
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, unlimited[1]))

    try:
        with pytest.raises(OutputError, match=r"could not be written .*; earlier checkpoints are whole"):
            train(discs, tmp_path / "run", config, learn=Watched(source(discs, "train"), fill_the_disk))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000002"]
    train(discs, tmp_path / "run", config, resume=True)
