"""The commands around stores, as a user types them: output, exit codes, one line per fault."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture
from skin_card import CARD

from medsam.cli.app import run


def test_faults_are_listed_and_show_in_the_exit_code(card, tmp_path, capsys):
    (card.parent / "masks" / "p2.png").unlink()
    store = str(tmp_path / "s")
    assert run(["curate", str(card), f"shared-cxr-jsrt={tmp_path / 'nowhere'}", "-o", store, "--engine", "local"]) == 3
    errors = capsys.readouterr().err
    assert "fault: 1 files of skin" in errors
    assert "fault: card shared-cxr-jsrt" in errors
    assert run(["store", "info", store, "--excluded"]) == 0
    assert "images/p2.png\tno mask file" in capsys.readouterr().out


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


def test_label_that_no_mask_holds_is_told_with_the_ids_that_masks_hold(card, tmp_path, capsys):
    card.write_text(CARD.replace("lesion = 1", "lesion = 7\nlens = [8, 9]"))
    assert run(["curate", str(card), "-o", str(tmp_path / "s"), "--engine", "local"]) == 3
    assert "fault: skin: no mask holds lesion = 7, lens = 8, 9; masks hold the ids 1" in capsys.readouterr().err


def test_one_wrong_label_of_two_is_told(card, tmp_path, capsys):
    for path in (card.parent / "masks").iterdir():
        labels = np.zeros((40, 50), np.uint8)
        labels[5:25, 5:25], labels[5:25, 28:48] = 1, 2
        Picture.fromarray(labels).save(path)
    card.write_text(CARD.replace("lesion = 1", "lesion = 1\nlens = 3"))
    assert run(["curate", str(card), "-o", str(tmp_path / "s"), "--engine", "local"]) == 3
    assert "fault: skin: no mask holds lens = 3; masks hold the ids 2" in capsys.readouterr().err
    card.write_text(
        CARD.replace("lesion = 1", "lesion = 1\nlens = 3").replace("[images]", "ignore_ids = [2]\n[images]")
    )
    assert run(["curate", str(card), "-o", str(tmp_path / "t"), "--engine", "local"]) == 0
