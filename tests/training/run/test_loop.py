"""The loop: it learns what it says, stops and goes on exactly, and is the same on any number of processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import losses, run_script, same, scalars, weights
from tiny import CONFIG, MANIFEST, Watched, source, spoil_last, steps_done, tiny_model, train

from medsam.errors import DataError, InputFileError
from medsam.models.networks.medsam import MedSAM
from medsam.training.run import sealed
from medsam.training.run.loop import fit
from medsam.training.run.monitor import draw_curves, read_metrics
from medsam.training.samples.dataset import Draws


def test_a_run_learns_and_leaves_a_model_with_card_curves_and_metrics(discs: Path, tmp_path: Path) -> None:
    outcome = train(discs, tmp_path / "run", replace(CONFIG, epochs=8))
    assert (outcome.finished, outcome.progress.step, outcome.total) == (True, 18, 18)
    found = losses(tmp_path / "run")
    assert sum(found[-3:]) < 0.9 * sum(found[:3])
    card = (tmp_path / "run/README.md").read_text()
    assert "| discs | unknown | not stated | 9 |" in card
    assert "| global_batch | 160 | 4 |" in card
    measured = [line["step"] for line in read_metrics(tmp_path / "run") if "tune_dice" in line]
    assert measured == [0, 4, 8, 12, 16, 18]
    assert (tmp_path / "run/curve.png").stat().st_size > 10_000
    assert [p.name for p in sealed.list_checkpoints(tmp_path / "run")] == ["step-00000016", "step-00000018"]
    draw_curves({"a": tmp_path / "run", "b": tmp_path / "run"}, tmp_path / "both.png")
    # a finished run that is resumed changes nothing
    before = weights(tmp_path / "run")
    train(discs, tmp_path / "run", replace(CONFIG, epochs=8), resume=True)
    assert same(weights(tmp_path / "run"), before)
    # and is not overwritten
    with pytest.raises(DataError, match="has a run already"):
        train(discs, tmp_path / "run")
    with pytest.raises(DataError, match=r"learning_rate 0\.002 -> 0\.1"):
        train(discs, tmp_path / "run", replace(CONFIG, epochs=8, learning_rate=0.1), resume=True)


def goes_on_after(how: str, kills: int, seed: int, discs: Path, run: Path) -> None:
    run.mkdir()
    said = run_script(how, run, kills, seed, discs)
    assert said.count("killed") >= 2, said  # how many come before the end, and into a save, is chance
    assert same(weights(run / "killed"), weights(run / "whole"))
    assert losses(run / "killed") == losses(run / "whole")
    assert not list((run / "killed/checkpoints").glob(".*"))


@pytest.mark.integration
def test_killed_21_times_at_any_step_and_in_mid_save_it_goes_on_bit_by_bit(discs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        goes_on_after("killed", 7, seed, discs, tmp_path / f"{seed}")


@pytest.mark.integration
@pytest.mark.parametrize("how", ["killed-ddp", "killed-fsdp"])
def test_killed_with_several_processes_it_goes_on_bit_by_bit(discs: Path, tmp_path: Path, how: str) -> None:
    goes_on_after(how, 3, 3, discs, tmp_path / how)  # the third in mid-save


def test_embeddings_encoded_once_change_nothing(discs: Path, tmp_path: Path) -> None:
    for cached in (False, True):
        train(discs, tmp_path / f"{cached}", replace(CONFIG, encoder="frozen", cache_embeddings=cached))
    with_, without = losses(tmp_path / "True"), losses(tmp_path / "False")
    assert max(abs(a - b) for a, b in zip(with_, without, strict=True)) < 1e-5


LONG = replace(CONFIG, epochs=4, save_every=100, validate_every=100)


def test_a_sample_that_cannot_be_read_costs_no_step(discs: Path, tmp_path: Path) -> None:
    draws = Draws(source(discs, "train"), MANIFEST, LONG)
    bad = next(d for d in range(4, 36) if draws.order.unit(d) == 8) // LONG.global_batch
    with pytest.raises(InputFileError, match="shard 3"):
        fit(
            LONG, tmp_path / "run", tiny_model(), MANIFEST, spoil_last(source(discs, "train")),
            tune=source(discs, "tune"), device="cpu",
        )  # fmt: skip
    left = [one.name for one in sealed.list_checkpoints(tmp_path / "run")]
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
    assert [one.name for one in sealed.list_checkpoints(tmp_path / "run")] == ["step-00000009"]
    assert (tmp_path / "run/checkpoints/step-00000009/weights.safetensors").is_file()
    with pytest.raises(DataError, match="finite in none of the 3 steps"):
        train(discs, tmp_path / "short", replace(LONG, epochs=1), model=broken())
    assert not (tmp_path / "short/model.safetensors").exists()


def test_a_run_killed_before_its_first_checkpoint_leaves_nothing_twice(discs: Path, tmp_path: Path) -> None:
    config = replace(LONG, tensorboard=True, examples=1)

    def end_after_three_steps(number: int) -> None:
        del number
        if steps_done(tmp_path / "run") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(discs, tmp_path / "run", config, learn=Watched(source(discs, "train"), end_after_three_steps))
    assert not sealed.list_checkpoints(tmp_path / "run")
    train(discs, tmp_path / "run", config, resume=True)
    found, lines = scalars(tmp_path / "run"), read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines if "loss" not in line] == [0, 9]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 10))
    assert [step for step, _ in found["loss"]] == list(range(1, 10))
    assert [step for step, _ in found["tune_dice"]] == [0, 9]
