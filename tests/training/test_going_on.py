"""What a run does when something is wrong on the way, and what it insists on when it goes on."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Picture

sys.path.append(str(Path(__file__).parent))
from test_loop import losses, same, weights
from test_monitor import scalars
from tiny import CONFIG, MANIFEST, source, tiny_model, train

from medsam.errors import DataError, InputFileError, IntensityError, MedsamError
from medsam.evaluation.metrics import dice
from medsam.models.medsam import MedSAM
from medsam.training import checkpoint_run
from medsam.training.dataset import Draws, micro_batches
from medsam.training.loop import SUMS, fit
from medsam.training.monitor import read_metrics
from medsam.training.sources import Case, CaseSource, Slice, Source, Unit
from medsam.training.step import take_step

LONG = replace(CONFIG, epochs=4, save_every=100, validate_every=100)


class Spoilt:
    """A source whose last unit cannot be read."""

    def __init__(self, inner: Source) -> None:
        self.inner = inner
        self.pictures = inner.pictures

    def __len__(self) -> int:
        return len(self.inner)

    def identity(self) -> str:
        return self.inner.identity()

    def unit(self, number: int) -> Unit:
        return self.inner.unit(number)

    def read(self, number: int) -> Slice:
        if number == len(self) - 1:
            raise InputFileError("shard 3 is damaged", expected="a whole one", fix="curate again")
        return self.inner.read(number)


def copied(discs: Path, folder: Path) -> Path:
    shutil.copytree(discs, folder)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_sample_comes_as_it_is_from_loader_processes(discs: Path, workers: int) -> None:
    draws = Draws(Spoilt(source(discs, "train")), MANIFEST, replace(CONFIG, workers=workers))
    with pytest.raises(InputFileError, match="shard 3 is damaged; expected a whole one; curate again"):
        list(micro_batches(draws, range(3), rank=0, world=1))


def test_a_sample_that_cannot_be_read_costs_no_step(discs: Path, tmp_path: Path) -> None:
    draws = Draws(source(discs, "train"), MANIFEST, LONG)
    bad = next(d for d in range(4, 36) if draws.order.unit(d) == 8) // LONG.global_batch
    with pytest.raises(InputFileError, match="shard 3"):
        fit(
            LONG, tmp_path / "run", tiny_model(), MANIFEST, Spoilt(source(discs, "train")),
            tune=source(discs, "tune"), measures={"dice": dice}, device="cpu",
        )  # fmt: skip
    left = [one.name for one in checkpoint_run.checkpoints(tmp_path / "run")]
    assert left == ([f"step-{bad:08d}"] if bad else [])
    train(discs, tmp_path / "run", LONG, resume=True)  # the unit is whole again
    train(discs, tmp_path / "whole", LONG)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_losses_that_are_not_finite_end_the_run_with_what_was_learnt(discs: Path, tmp_path: Path) -> None:
    def broken() -> MedSAM:
        model = tiny_model()
        with torch.no_grad():
            model.mask_decoder.output_upscaling[0].bias.fill_(float("nan"))
        return model

    with pytest.raises(DataError, match=r"start a new run from .*step-00000009/weights\.safetensors"):
        train(discs, tmp_path / "run", replace(LONG, epochs=9), model=broken())
    assert [one.name for one in checkpoint_run.checkpoints(tmp_path / "run")] == ["step-00000009"]
    assert (tmp_path / "run/checkpoints/step-00000009/weights.safetensors").is_file()
    with pytest.raises(DataError, match="finite in none of the 3 steps"):
        train(discs, tmp_path / "short", replace(LONG, epochs=1), model=broken())
    assert not (tmp_path / "short/model.safetensors").exists()


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda at: (at / "images/2.png").unlink(), InputFileError, r"images/2\.png"),
        (lambda at: Picture.new("I;16", (80, 60)).save(at / "images/2.png"), IntensityError, "uint16 pixels"),
        (lambda at: Picture.new("L", (80, 61), 1).save(at / "masks/2.png"), DataError, "the same size"),
        (lambda at: (at / "images/2.png").write_bytes(b"\x89PNG\r\n\x1a\n"), InputFileError, r"images/2\.png"),
    ],
)
def test_a_bad_picture_is_known_before_the_first_step(
    discs: Path, tmp_path: Path, spoil: Any, kind: type[MedsamError], said: str
) -> None:
    folder = copied(discs, tmp_path / "discs")
    spoil(folder)
    with pytest.raises(kind, match=said):
        source(folder, "train")


def test_a_case_that_cannot_be_normalized_is_named(tmp_path: Path) -> None:
    pixels = np.full((2, 20, 20), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "p7.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 20, 20), np.uint8), np.eye(4)), tmp_path / "mask.nii.gz")
    case = Case("p7", tmp_path / "p7.nii.gz", tmp_path / "mask.nii.gz")
    with pytest.raises(IntensityError, match=r"p7\.nii\.gz: .*NaN"):
        CaseSource([case], lambda labels, kind: [labels > 0], modality="MR", window=None)


def test_a_run_goes_on_with_the_data_it_began_with_only(discs: Path, tmp_path: Path) -> None:
    folder = copied(discs, tmp_path / "discs")
    train(folder, tmp_path / "run")
    index = folder / "index.csv"
    rows = index.read_text().splitlines()
    index.write_text("\n".join(rows[:1] + rows[4:]) + "\n")
    with pytest.raises(DataError, match=r"started with other data \(train\)"):
        train(folder, tmp_path / "run", resume=True)
    index.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(DataError, match=r"started with other data \(tune\)"):
        train(folder, tmp_path / "run", resume=True)
    index.write_text("\n".join(rows) + "\n")
    assert train(folder, tmp_path / "run", resume=True).finished


def test_two_at_once_do_not_train_in_one_folder(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr("medsam.training.loop.LEAVING", 0.2)
    tried: list[str] = []

    def second(*arguments: Any, **named: Any) -> Any:
        if not tried:
            left = sorted(path.name for path in run.rglob("*"))
            for resume in (True, False):
                with pytest.raises(MedsamError) as refusal:
                    train(discs, run, resume=resume)
                tried.append(str(refusal.value))
            assert sorted(path.name for path in run.rglob("*")) == left
        return take_step(*arguments, **named)

    monkeypatch.setattr("medsam.training.loop.take_step", second)
    train(discs, run)
    assert "another run writes to" in tried[0]
    assert "has a run already" in tried[1]
    monkeypatch.undo()
    train(discs, tmp_path / "alone")
    assert same(weights(run), weights(tmp_path / "alone"))
    train(discs, run, resume=True)  # free again


def test_a_run_killed_before_its_first_checkpoint_leaves_nothing_twice(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(LONG, tensorboard=True, examples=1)

    def killed(*arguments: Any, **named: Any) -> Any:
        progress, stop = take_step(*arguments, **named)
        if progress.step == 3:
            raise KeyboardInterrupt
        return progress, stop

    monkeypatch.setattr("medsam.training.loop.take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(discs, tmp_path / "run", config)
    monkeypatch.undo()
    assert not checkpoint_run.checkpoints(tmp_path / "run")
    train(discs, tmp_path / "run", config, resume=True)
    found, lines = scalars(tmp_path / "run"), read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines if "loss" not in line] == [0, 9]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))
    assert [step for step, _ in found["loss"]] == list(range(1, 10))
    assert [step for step, _ in found["tune_dice"]] == [0, 9]


def test_a_checkpoint_learns_of_the_measurement_at_its_step(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=4)
    train(discs, tmp_path / "run", config)
    last = checkpoint_run.checkpoints(tmp_path / "run")[-1] / "state.json"
    whole = json.loads(last.read_text())
    before = {**whole["progress"], "measured_step": 8, "best_score": -1.0, "best_step": 0}
    last.write_text(json.dumps({**whole, "progress": before}))
    train(discs, tmp_path / "run", config, resume=True)
    again = json.loads(last.read_text())["progress"]
    assert again["measured_step"] == 9
    assert again["best_score"] >= 0
    assert [line["step"] for line in read_metrics(tmp_path / "run") if "loss" not in line] == [0, 4, 8, 9]


def test_a_run_leaves_the_checksums_of_its_weights(discs: Path, tmp_path: Path) -> None:
    from medsam.models.weights_file import digest

    run = tmp_path / "run"
    train(discs, run, measure=lambda found, expert: len(read_metrics(run)) / 1000)  # each measurement is the best yet
    assert (run / "best.safetensors").is_file()
    lines = [line.split("  ") for line in (run / SUMS).read_text().splitlines()]
    assert lines == [[digest(run / name), name] for name in ("best.safetensors", "model.safetensors")]


def test_a_point_model_says_so_on_its_card(discs: Path, tmp_path: Path) -> None:
    points = replace(CONFIG, prompts=("point",), prompt_encoder="full")
    model = tiny_model()
    tune = source(discs, "tune")
    manifest = replace(MANIFEST, prompts=points.learnt_prompts)
    fit(
        points, tmp_path / "run", model, manifest, source(discs, "train"), tune=tune, measures={"dice": dice},
        device="cpu",
    )  # fmt: skip
    card = (tmp_path / "run/README.md").read_text()
    assert "medsam segment IMAGE --point X,Y" in card
    assert "each prompted by one click, deepest inside" in card
    assert "Prompts it has learnt: point;" in card
    assert "box" not in card.split("## How")[0]
    assert len(losses(tmp_path / "run")) == 5
    assert np.isfinite(losses(tmp_path / "run")).all()
