"""`medsam baseline` as a user types it, and its specialist measured by `medsam evaluate`."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tiny import draw_discs

from command import medsam as command

TINY = "--epochs 2 --steps-per-epoch 2 --batch-size 2 --memory-gb 0.02 --device cpu"


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_discs(tmp_path_factory.mktemp("data") / "us_discs")


def test_the_comparators_are_listed() -> None:
    listed = command("baseline list --json").json
    assert isinstance(listed, list)
    assert {one["name"]: one["paper_epochs"] for one in listed} == {
        "sam-vit-b": None,
        "unet": 1000,
        "nnunet": 1000,
        "deeplabv3plus": 500,
    }


def test_a_trained_specialist_says_what_it_is_and_is_measured(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = command(f"baseline train unet --modality US {TINY} --json", str(discs), "-o", run)
    assert trained.code == 0, trained.err
    assert trained.json["step"] == trained.json["steps"] == 4  # type: ignore[index]
    facts = command("baseline info --json", run / "model.safetensors").json
    assert isinstance(facts, dict)
    assert facts["name"] == "unet-US" and facts["epochs"] == 2 and facts["images"] == 9 and facts["seed"] == 0
    measured = command(
        "evaluate --split tune --device cpu", discs, "--model", run / "model.safetensors", "-o", tmp_path / "s"
    )
    assert measured.code == 0, measured.err
    with (tmp_path / "s/rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"unet-US"} and not any(row["fault"] for row in rows)
    clicked = command(
        "evaluate --split tune --device cpu --prompt point",
        discs,
        "--model",
        run / "model.safetensors",
        "-o",
        tmp_path / "c",
    )
    assert clicked.code == 3 and "prompt that is no box" in clicked.err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("baseline train unet -o run", "no data"),
        ("baseline train deeplabv3plus --engine nnunet -o run", "another network or data for nnU-Net"),
        ("baseline train unet --engine nnunet -o run", "is no data set of nnU-Net"),
        ("baseline info absent.safetensors", "No such file"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    line: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command(line)
    assert ended.code == 1 and text in ended.err and len(ended.err.splitlines()) == 1
