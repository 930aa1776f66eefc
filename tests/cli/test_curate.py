"""The commands around stores, as a user types them: output, exit codes, one line per fault."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.cli.app import run

CARD = """
name = "skin"
version = "1"
licence = "CC0"
citation = "nobody"
modality = "dermoscopy"
dimension = 2
published = true
[images]
path = "images/{image}.png"
[masks]
path = "masks/{image}.png"
[targets]
lesion = 1
"""


@pytest.fixture
def card(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
    for n in range(6):
        Picture.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
            tmp_path / "raw" / "images" / f"p{n}.png"
        )
        labels = np.zeros((40, 50), np.uint8)
        labels[5:25, 5 : 25 + n] = 1
        Picture.fromarray(labels).save(tmp_path / "raw" / "masks" / f"p{n}.png")
    (tmp_path / "raw" / "skin.toml").write_text(CARD)
    return tmp_path / "raw" / "skin.toml"


def test_curate_info_check_browse_subset_export(card, tmp_path, capsys):
    store = str(tmp_path / "s")
    assert run(["curate", str(card), "-o", store, "--engine", "local"]) == 0
    assert "1 shards made" in capsys.readouterr().out
    assert run(["store", "info", store, "--json", "-f", str(tmp_path / "f.svg")]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 6
    assert (tmp_path / "f.svg").read_text().lstrip().startswith("<?xml")
    assert run(["store", "info", store]) == 0
    assert "6 pairs on 6 images of 6 groups" in capsys.readouterr().out
    assert run(["store", "check", store]) == 0
    assert "6 pairs: whole" in capsys.readouterr().out
    assert run(["store", "browse", store, "-o", str(tmp_path / "b.png"), "--count", "4"]) == 0
    assert run(["subset", store, "--size", "1", "--size", "2", "-o", str(tmp_path / "subsets")]) == 0
    assert len(list((tmp_path / "subsets").iterdir())) == 2
    assert run(["store", "export", store, "--to", "cvpr-npz", "-o", str(tmp_path / "npz")]) == 0
    assert len(list((tmp_path / "npz").glob("*.npz"))) == 6
    assert run(["store", "import", str(tmp_path / "npz"), "-o", str(tmp_path / "t"), "--modality", "dermoscopy"]) in (
        0,
        3,
    )


def test_faults_are_listed_and_show_in_the_exit_code(card, tmp_path, capsys):
    (card.parent / "masks" / "p2.png").unlink()
    store = str(tmp_path / "s")
    assert run(["curate", str(card), f"shared-cxr-jsrt={tmp_path / 'nowhere'}", "-o", store, "--engine", "local"]) == 3
    errors = capsys.readouterr().err
    assert "fault: 1 files of skin" in errors
    assert "fault: card shared-cxr-jsrt" in errors
    assert run(["store", "info", store, "--excluded"]) == 0
    assert "images/p2.png\tno mask file" in capsys.readouterr().out


def test_a_damaged_store_fails_its_check(card, tmp_path, capsys):
    store = tmp_path / "s"
    run(["curate", str(card), "-o", str(store), "--engine", "local"])
    next((store / "shards").glob("*/arrays.zarr/mask_*/c/*/*/*")).unlink()
    capsys.readouterr()
    assert run(["store", "check", str(store)]) == 1
    assert "problems in 6 pairs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curate", "shared-cxr-jsrt", "-o", "s"], "pass --root FOLDER"),
        (["curate", "unheard-of", "-o", "s"], "no card is called"),
        (["curate", "CARD", "-o", "s", "--split", "0.5,0.5"], "sum to 1"),
        (["curate", "CARD", "-o", "s", "--external", "skim"], "--external skim is none of the cards"),
        (["curate", "CARD", "-o", "s", "--split", "many"], "sum to 1"),
        (["curate", "CARD", "CARD", "-o", "s"], "given twice"),
        (["curate", "CARD", "-o", "s", "--address", "127.0.0.1:1"], "--engine ray"),
        (["store", "info", "."], "not a store"),
        (["cards", "show", "nothing"], "no card is called"),
    ],
)
def test_what_cannot_be_done_is_one_line(card, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run([str(card) if a == "CARD" else a for a in arguments]) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_cards_are_listed_shown_and_checked(card, capsys):
    assert run(["cards", "--modality", "fundus"]) == 0
    listed = capsys.readouterr().out
    assert "refuge" in listed
    assert "lits" not in listed
    assert run(["cards", "show", "lits"]) == 0
    assert 'name = "lits"' in capsys.readouterr().out
    assert run(["cards", "check", str(card), "--root", str(card.parent)]) == 0
    assert "6 cases of 6 groups; 0 without a mask file" in capsys.readouterr().out
