"""`medsam train` and `medsam finetune` as a user runs them, from the real weights of LiteMedSAM."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from cyclopts import App
from PIL import Image as Picture
from safetensors.torch import load_file, save_file

import medsam
from medsam.cli.app import run as run_command
from medsam.cli.finetune import finetune
from medsam.cli.models import card_of_run
from medsam.cli.runs import runs
from medsam.cli.train import train
from medsam.errors import DataError, ModelUnavailableError, OutputError
from medsam.evaluation.evaluate import Protocol, targets_of
from medsam.models.catalog import CATALOG, cached, fetch
from medsam.models.weights_file import digest
from medsam.training.base import new_manifest
from medsam.training.checkpoint_run import Progress
from medsam.training.config import TrainConfig, read_config
from medsam.training.finetuning import paired, split, unpaired
from medsam.training.monitor import read_metrics
from medsam.training.sources import CaseSource, case_of
from medsam.training.step import take_step


def call(verb: Callable[..., int], *arguments: object) -> object:
    app = App(exit_on_error=False, print_error=False, result_action="return_value")
    app.default(verb)
    return app([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of bright rings: the expert wants the hole as well, which the published weights leave out."""
    fetch("lite-medsam")
    root = tmp_path_factory.mktemp("data") / "us_rings"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    y, x = np.ogrid[:90, :120]
    rng = np.random.default_rng(0)
    rows = ["image,mask,group,mask_kind,split,licence"]
    for i in range(3):
        cy, cx = rng.integers(35, 55), rng.integers(35, 85)
        distance = np.hypot(y - cy, x - cx)
        pixels = np.where((distance <= 28) & (distance > 15), 200, 50) + rng.integers(-10, 11, distance.shape)
        Picture.fromarray(pixels.astype(np.uint8)).save(root / f"images/{i}.png")
        Picture.fromarray((distance <= 28).astype(np.uint8)).save(root / f"masks/{i}.png")
        rows.append(f"images/{i}.png,masks/{i}.png,{i},labels,{'tune' if i == 2 else 'train'},CC0")
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    return root


def recipe(path: Path, data: Path, more: str = "") -> Path:
    path.write_text(
        f'name = "rings"\ndata = ["{data}"]\nbase = "lite-medsam"\nlike = ""\nencoder = "frozen"\n'
        "cache_embeddings = true\nepochs = 4\nglobal_batch = 2\nmicro_batch = 2\nlearning_rate = 1e-3\nworkers = 0\n"
        f"quality_weight = 0.5\nvalidate_every = 4\n{more}"
    )
    return path


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

    assert card_of_run(run / "model.safetensors") == card
    assert card_of_run(run / "curve.png") == ""

    call(runs, tmp_path, "--figure", tmp_path / "curves.png")
    listed = capsys.readouterr().out
    assert "finished" in listed
    call(runs, run, "--json")
    line = json.loads(capsys.readouterr().out)[0]
    assert line["dice_best"] > line["dice_before"]
    assert line["step"] == 4


def test_finetune_says_before_and_after_on_cases_kept_aside(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "mine"
    arguments = (rings / "images", rings / "masks", "-o", run, "--epochs", 2, "--batch", 2, "--learning-rate", 1e-3)
    assert call(finetune, *arguments, "--device", "cpu") == 0
    said = capsys.readouterr().out
    assert "one batch can be learnt" in said
    assert "median dice" in said
    assert "+0." in said
    assert "Dice rose for 1 targets, fell for 0" in said
    saved = json.loads((run / "comparison.json").read_text())
    [[case, before, after]] = saved["cases"]
    assert f"case {case}: median dice" in said
    assert ["median dice", before, after] in saved["rows"]
    card = (run / "README.md").read_text()
    assert f"| cases | 1 | {before:.4f} | {after:.4f} |" in card
    assert [path.name for path in sorted((run / "examples").iterdir())] == ["step-00000000.png", "step-00000002.png"]
    call(runs, run, "--json")
    assert json.loads(capsys.readouterr().out)[0]["dice_last"] == pytest.approx(after)
    predictor = medsam.load_predictor(run / "model.safetensors", device="cpu")
    image = medsam.read_image(rings / "images/2.png")
    masks, _ = predictor.decode(predictor.embed(image.slice_rgb(0)), boxes=[(10, 10, 100, 80)])
    assert masks.shape == (1, 90, 120)
    with pytest.raises(OutputError, match="has files in it"):
        call(finetune, *arguments)


def test_a_finetuning_that_was_stopped_goes_on_exactly_and_only_with_its_cases(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any, **named: Any) -> tuple[Progress, bool]:
        progress, _ = take_step(*arguments, **named)
        return progress, progress.step == 1

    command = ["finetune", str(rings / "images"), str(rings / "masks"), "--epochs", "3", "--batch", "2"]
    command += ["--device", "cpu", "-o"]
    run = tmp_path / "run"
    monkeypatch.setattr("medsam.training.loop.take_step", stopped)
    assert run_command([*command, str(run)]) == 143
    assert "stopped at step 1 of 3; go on with the same command and --resume" in capsys.readouterr().out
    monkeypatch.undo()
    assert run_command([*command, str(run)]) == 1
    assert "choose another -o, or --resume" in capsys.readouterr().err
    assert run_command([*command, str(run), "--resume", "--held-out", "0.7"]) == 1
    assert "begun with other cases" in capsys.readouterr().err
    for _ in range(2):  # once more at the end changes nothing
        assert run_command([*command, str(run), "--resume"]) == 0
        assert "one batch can be learnt" not in capsys.readouterr().out
    assert run_command([*command, str(tmp_path / "whole")]) == 0
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (run, tmp_path / "whole"))
    assert all(torch.equal(one, theirs[name]) for name, one in ours.items())
    assert json.loads((run / "comparison.json").read_text()) == json.loads(
        (tmp_path / "whole/comparison.json").read_text()
    )
    steps = [line["step"] for line in read_metrics(run)]
    assert steps == [line["step"] for line in read_metrics(tmp_path / "whole")]
    assert len(json.loads((run / "cases.json").read_text())["learnt"]) == 2


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
    shutil.copy(cached("lite-medsam"), tmp_path / "large.pth")
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


def test_a_case_is_on_one_side_with_all_its_slices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b[7]", "c", "d"):
        labels = np.zeros((4, 40, 40), np.uint8)
        labels[1:, 10:30, 10:30] = 1
        pixels = labels * 100 + rng.integers(0, 50, labels.shape)
        for folder, array in (("images", pixels.astype(np.int16)), ("masks", labels)):
            nibabel.save(nibabel.Nifti1Image(array.T, np.diag([1.0, 1, 3, 1])), tmp_path / folder / f"{name}.nii.gz")
    learn, kept = split(paired(tmp_path / "images", tmp_path / "masks"), 0.5, seed=0)
    divide = partial(targets_of, protocol=Protocol())
    sides = [CaseSource(side, divide, modality="MR", window=None) for side in (learn, kept)]
    names = [{case_of(side.unit(i).name) for i in range(len(side))} for side in sides]
    assert [len(side) for side in sides] == [6, 6]
    assert names == [{case.name for case in learn}, {case.name for case in kept}]
    assert not names[0] & names[1]


def test_runs_lists_the_others_where_one_is_broken(
    rings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(recipe(tmp_path / "recipe.toml", rings)).to_json()
    for name in ("a/one", "b/one", "a/broken", "a/odd"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(config)
        (tmp_path / name / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": null, "loss": 1}\n')
    (tmp_path / "a/broken/config.json").write_text("{")
    (tmp_path / "a/odd/metrics.jsonl").unlink()
    (tmp_path / "a/odd/metrics.jsonl").mkdir()
    figure = tmp_path / "curves.svg"
    assert run_command(["runs", str(tmp_path / "a"), str(tmp_path / "b"), "--json", "--figure", str(figure)]) == 3
    said = capsys.readouterr()
    assert [Path(one["run"]).parent.name for one in json.loads(said.out)] == ["a", "b"]
    assert [one["step"] for one in json.loads(said.out)] == [1, 1]
    assert said.err.count("medsam: left out: ") == said.err.count("\n") == 2
    drawn = figure.read_text()
    assert "a/one" in drawn
    assert "b/one" in drawn
    assert run_command(["runs", str(tmp_path / "b"), "--figure", str(tmp_path / "curves.xyz")]) == 1
    assert "expected one of .png, .svg, .pdf" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path / "b/one")
    assert run_command(["runs", "."]) == 0
    assert re.search(r"^ ?one ", capsys.readouterr().out, re.MULTILINE)


def test_what_is_part_of_no_case_is_named_and_a_folder_is_one(rings: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            shutil.copy(rings / folder / "0.png", tmp_path / folder / f"{name}.png")
    (tmp_path / "images/notes.txt").write_text("x")
    (tmp_path / "images/.hidden").write_text("x")
    (tmp_path / "images/scan.v2").mkdir()
    shutil.copy(rings / "masks/0.png", tmp_path / "masks/scan.v2.png")
    shutil.copy(rings / "masks/0.png", tmp_path / "masks/c.png")
    cases = paired(tmp_path / "images", tmp_path / "masks")
    assert [case.name for case in cases] == ["a", "b", "scan.v2"]
    assert unpaired(tmp_path / "images", tmp_path / "masks") == [
        f"{tmp_path}/images/notes.txt has a suffix that no reader knows",
        f"{tmp_path}/masks/c.png has no image in {tmp_path}/images",
    ]


def test_what_binds_the_base_binds_what_is_trained_from_it() -> None:
    base = replace(CATALOG["lite-medsam"].manifest, licence="research only")
    silent = TrainConfig(data=("x",), base="lite-medsam", like="")
    assert new_manifest(base, silent).licence == "not stated; trained from lite-medsam, which has: research only"
    assert new_manifest(base, replace(silent, licence="CC BY-NC 4.0")).licence == "CC BY-NC 4.0"
    assert new_manifest(replace(base, licence=None), silent).licence is None


def test_files_of_one_patient_are_on_one_side(rings: Path, tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("anna_1", "anna_2", "anna_3", "bert_1", "carl-1"):
            shutil.copy(rings / folder / "0.png", tmp_path / folder / f"{name}.png")

    def sides(patient: str, seed: int) -> list[set[str]]:
        cases = paired(tmp_path / "images", tmp_path / "masks", patient)
        return [{case.name for case in side} for side in split(cases, 0.4, seed)]

    for expression in ("^[a-z]+", "(.*?)[_-]"):
        for seed in range(8):
            learnt, aside = sides(expression, seed)
            assert len(learnt | aside) == 5
            assert {name[:4] for name in learnt}.isdisjoint(name[:4] for name in aside)
    anna = {"anna_1", "anna_2", "anna_3"}
    assert any(0 < len(anna & sides("", seed)[0]) < 3 for seed in range(8))
    for expression, said in (
        ("[", "no regular expression"),
        ("anna", "finds nothing in 'bert_1'"),
        ("()", "finds nothing in 'anna_1'"),
    ):
        with pytest.raises(DataError, match=said):
            sides(expression, 0)


def test_cases_are_paired_by_name_and_split_for_good(rings: Path, tmp_path: Path) -> None:
    cases = paired(rings / "images", rings / "masks")
    assert [case.name for case in cases] == ["0", "1", "2"]
    learn, kept = split(cases, 0.2, seed=0)
    assert (len(learn), len(kept)) == (2, 1)
    assert split(cases[::-1], 0.2, seed=0)[1] == kept
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="has no mask"):
        paired(rings / "images", tmp_path / "masks")
    with pytest.raises(DataError, match="is no folder"):
        paired(rings / "images", tmp_path / "none")
    with pytest.raises(DataError, match="held_out is 1"):
        split(cases, 1.0, seed=0)
