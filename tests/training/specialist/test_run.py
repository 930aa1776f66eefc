from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medsam.baselines.specialist import read_manifest
from medsam.errors import DataError
from medsam.training.run.monitor import read_metrics
from medsam.training.run.sealed import list_checkpoints
from medsam.training.specialist.config import SpecialistConfig
from medsam.training.specialist.run import train_specialist


@pytest.fixture
def config(discs: Path) -> SpecialistConfig:
    return SpecialistConfig(
        "unet", (str(discs),), name="discs", epochs=3, steps_per_epoch=4, batch_size=2, memory_gb=0.02,
        augmentation="light", save_every=4,
    )  # fmt: skip


def cut_to(run: Path, step: int) -> None:
    """Leave a run as a kill after a checkpoint leaves it."""
    for folder in list_checkpoints(run):
        if folder.name > f"step-{step:08d}":
            (folder / "state.json").unlink()
    (run / "model.safetensors").unlink()


def test_a_run_learns_and_goes_on_to_the_same_bits(config: SpecialistConfig, tmp_path: Path) -> None:
    whole = train_specialist(config, tmp_path / "run", device="cpu")
    assert whole.finished and whole.progress.step == 12
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[0]["learning_rate"] == pytest.approx(0.01)
    assert lines[-1]["learning_rate"] == pytest.approx(0.01 * (1 / 3) ** 0.9)
    assert float(str(lines[-1]["loss"])) < float(str(lines[0]["loss"]))
    weights = load_file(tmp_path / "run/model.safetensors")
    cut_to(tmp_path / "run", 8)
    train_specialist(config, tmp_path / "run", resume=True, device="cpu")
    again = load_file(tmp_path / "run/model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert read_metrics(tmp_path / "run") == lines
    manifest = read_manifest(tmp_path / "run/model.safetensors")
    assert (manifest.steps, manifest.epochs, manifest.network) == (12, 3, "unet")
    card = (tmp_path / "run/README.md").read_text()
    assert "12 steps of 2 pictures" in card and "| epochs | 1000 | 3 |" in card


def test_deeplab_goes_on_to_the_same_bits_with_its_dropout(config: SpecialistConfig, tmp_path: Path) -> None:
    deep = replace(config, network="deeplabv3plus", epochs=2, steps_per_epoch=1, save_every=1, augmentation="none")
    train_specialist(deep, tmp_path / "run", device="cpu")
    weights = load_file(tmp_path / "run/model.safetensors")
    cut_to(tmp_path / "run", 1)
    train_specialist(deep, tmp_path / "run", resume=True, device="cpu")
    again = load_file(tmp_path / "run/model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_run_is_neither_overwritten_nor_changed(config: SpecialistConfig, tmp_path: Path) -> None:
    short = replace(config, epochs=1, steps_per_epoch=1)
    train_specialist(short, tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match="has a run already"):
        train_specialist(short, tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match="seed 0 -> 1"):
        train_specialist(replace(short, seed=1), tmp_path / "run", resume=True, device="cpu")


def test_a_run_that_is_asked_to_stop_keeps_its_last_step(config: SpecialistConfig, tmp_path: Path) -> None:
    long = replace(config, epochs=100, steps_per_epoch=100, save_every=10**6)

    def ask() -> None:
        while not read_metrics(tmp_path / "run"):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    outcome = train_specialist(long, tmp_path / "run", device="cpu")
    asking.join()
    assert not outcome.finished and outcome.progress.step >= 1
    assert [folder.name for folder in list_checkpoints(tmp_path / "run")] == [f"step-{outcome.progress.step:08d}"]
    assert not (tmp_path / "run/model.safetensors").exists()
