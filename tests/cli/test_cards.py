"""The command `medsam cards`: listed, shown and checked."""

from __future__ import annotations

from medsam.cli.app import run


def test_cards_are_listed_shown_and_checked(card, capsys):
    assert run(["cards", "--modality", "fundus"]) == 0
    listed = capsys.readouterr().out
    assert "refuge" in listed
    assert "lits" not in listed
    assert run(["cards", "show", "lits"]) == 0
    assert 'name = "lits"' in capsys.readouterr().out
    assert run(["cards", "check", str(card), "--root", str(card.parent)]) == 0
    assert "6 cases of 6 groups; 0 without a mask file" in capsys.readouterr().out
