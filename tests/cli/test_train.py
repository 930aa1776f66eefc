"""The command `medsam train`, as a user runs it, from the real weights of LiteMedSAM."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ring_recipe import call, recipe
from safetensors.torch import load_file, save_file

import medsam
from medsam.cli.app import run as run_command
from medsam.cli.models import read_card_of_run
from medsam.cli.runs import runs
from medsam.cli.train import train
from medsam.errors import DataError, ModelUnavailableError
from medsam.models.weights.catalog import CATALOG, find_cached
from medsam.models.weights.file import digest
from medsam.training.run.monitor import read_metrics


def test_a_recipe_makes_a_better_model_that_loads_at_once(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = tmp_path / "run"
    assert call(train, "--config", recipe(tmp_path / "recipe.toml", rings), "-o", run, "--device", "cpu") == 0
    assert "4 steps" in capsys.readouterr().out
    predictor = medsam.load_predictor(run / "model.safetensors", device="cpu")
    assert predictor.manifest.name == "rings"
    assert predictor.manifest.quality_trained
    assert predictor.manifest.frame_size == 256
    card = (run / "README.md").read_text()
    assert "| us_rings | ultrasound | CC0 | 2 |" in card
    assert "| quality_weight | 0.0 | 0.5 |" in card
    assert "| workers |" not in card
    assert "Fewer than 20 targets were measured of ultrasound" in card
    first, last = (line for line in read_metrics(run) if "tune_dice" in line)
    for by, name in (("modality", "ultrasound"), ("dataset", "us_rings")):
        cells = [line[f"tune_{measure}_by_{by}"][name] for measure in ("dice", "nsd") for line in (first, last)]  # type: ignore[index]
        assert f"| {name} | 1 | {' | '.join(f'{cell:.4f}' for cell in cells)} |" in card

    assert read_card_of_run(run / "model.safetensors") == card
    assert read_card_of_run(run / "curve.png") == ""

    call(runs, tmp_path, "--figure", tmp_path / "curves.png")
    listed = capsys.readouterr().out
    assert "finished" in listed
    call(runs, run, "--json")
    line = json.loads(capsys.readouterr().out)[0]
    assert line["dice_best"] > line["dice_before"]
    assert line["step"] == 4


def test_bad_recipes_are_refused_before_the_first_step(rings: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for more, kind, said in (
        ('seed = "x"\n', DataError, "seed is 'x'"),
        ('train_split = "learn"\n', DataError, "no row of split 'learn'"),
    ):
        with pytest.raises(kind, match=said):
            call(train, "--config", recipe(tmp_path / "bad.toml", rings, more), "-o", run)
    text = recipe(tmp_path / "like.toml", rings).read_text().replace('like = ""', 'like = "medsam-vit-b"')
    (tmp_path / "like.toml").write_text(text)
    with pytest.raises(ModelUnavailableError, match="frame of 1024 pixels"):
        call(train, "--config", tmp_path / "like.toml", "-o", run)
    with pytest.raises(DataError, match="no recipe"):
        call(train, "-o", run)
    with pytest.raises(DataError, match="no readable config"):
        call(train, "--resume", "-o", run)
    with pytest.raises(DataError, match="has no run"):
        call(runs, tmp_path)
    assert not run.exists()


FULL = """
import resource, signal, sys
from medsam.cli.app import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, resource.RLIM_INFINITY))
sys.exit(run(sys.argv[1:]))
"""


def test_a_disk_that_refuses_a_checkpoint_ends_the_command_and_loses_nothing(rings: Path, tmp_path: Path) -> None:
    """The limit of a file's size lets the metrics through and refuses the weights, as a disk does that fills up."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    made = recipe(tmp_path / "recipe.toml", rings, "save_every = 2\nexamples = 0\n")
    assert run_command(["train", "-c", str(made), "-o", str(whole), "--device", "cpu"]) == 0
    command = [sys.executable, "-c", FULL, "train", "-c", str(made), "-o", str(cut), "--device", "cpu"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 1
    assert re.search(r"^medsam: .*checkpoints/step-00000002 could not be written", ended.stderr, re.M), ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list((cut / "checkpoints").iterdir())
    assert run_command(["train", "--resume", "-o", str(cut), "--device", "cpu"]) == 0
    ends = [load_file(run / "model.safetensors") for run in (whole, cut)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_bad_input_is_one_line_before_the_first_step(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "store.json").write_text('{"format": 99}')
    torch.save({"backbone.weight": torch.zeros(3)}, tmp_path / "other.pth")
    shutil.copy(find_cached("lite-medsam"), tmp_path / "large.pth")
    (tmp_path / "large.pth.manifest.json").write_text(CATALOG["medsam-vit-b"].manifest.to_json())
    plain = recipe(tmp_path / "recipe.toml", rings).read_text()
    for old, new, said in (
        ("learning_rate = 1e-3", 'learning_rate = "fast"', "learning_rate is 'fast' in .*; expected a number"),
        (f'"{rings}"', f'"{newer}"', "another format than this version reads; expected format 1"),
        ("epochs", 'train_split = "learn"\nepochs', "no row of split 'learn'; expected train, tune"),
        ("lite-medsam", str(tmp_path / "other.pth"), "other.pth .*; expected"),
        ("lite-medsam", str(tmp_path / "large.pth"), "large.pth .*; expected"),
    ):
        assert plain.count(old) == 1
        bad = tmp_path / "bad.toml"
        bad.write_text(plain.replace(old, new))
        assert run_command(["train", "-c", str(bad), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 1
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert re.search(said, line), line
        assert not (tmp_path / "run").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=10**8))
    assert run_command(["train", "-c", str(tmp_path / "recipe.toml"), "-o", str(tmp_path / "run")]) == 1
    assert re.search("has 100 MB free; expected 28[0-9] MB", capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_architecture_is_not_gone_on_from(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    made = recipe(tmp_path / "recipe.toml", rings, "save_every = 2\nexamples = 0\n")
    assert run_command(["train", "-c", str(made), "-o", str(run), "--device", "cpu"]) == 0
    for folder in (run / "checkpoints").iterdir():
        save_file({"backbone.weight": torch.zeros(3)}, folder / "weights.safetensors")
        state = json.loads((folder / "state.json").read_text())
        state["sha256"]["weights.safetensors"] = digest(folder / "weights.safetensors")
        (folder / "state.json").write_text(json.dumps(state))
    before = (run / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert run_command(["train", "--resume", "-o", str(run), "--device", "cpu"]) == 1
    assert "does not fit the model" in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == before
