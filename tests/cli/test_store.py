"""The command `medsam store`: counts, checks, sheets, exports and imports."""

from __future__ import annotations

import json

from PIL import Image as Picture

from medsam.cli.app import run


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
    for verb in (["info", store, "--figure"], ["browse", store, "-o"]):
        (tmp_path / "mine.png").write_text("mine")
        assert run(["store", *verb, str(tmp_path / "mine.png")]) == 1
        assert "exists already" in capsys.readouterr().err
        assert (tmp_path / "mine.png").read_text() == "mine"
        assert run(["store", *verb, str(tmp_path / "mine.png"), "--overwrite"]) == 0
        assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    assert run(["subset", store, "--size", "1", "--size", "2", "-o", str(tmp_path / "subsets")]) == 0
    assert len(list((tmp_path / "subsets").iterdir())) == 2
    assert run(["store", "export", store, "--to", "cvpr-npz", "-o", str(tmp_path / "npz")]) == 0
    assert len(list((tmp_path / "npz").glob("*.npz"))) == 6
    assert run(["store", "import", str(tmp_path / "npz"), "-o", str(tmp_path / "t"), "--modality", "dermoscopy"]) in (
        0,
        3,
    )


def test_a_damaged_store_fails_its_check(card, tmp_path, capsys):
    store = tmp_path / "s"
    run(["curate", str(card), "-o", str(store), "--engine", "local"])
    next((store / "shards").glob("*/arrays.zarr/mask_*/c/*/*/*")).unlink()
    capsys.readouterr()
    assert run(["store", "check", str(store)]) == 1
    assert "problems in 6 pairs" in capsys.readouterr().out


def test_list_of_what_was_left_out_is_drawn_and_given_as_json_too(card, tmp_path, capsys):
    (card.parent / "masks" / "p2.png").unlink()
    store = str(tmp_path / "s")
    run(["curate", str(card), "-o", store, "--engine", "local"])
    capsys.readouterr()
    assert run(["store", "info", store, "--excluded", "--json", "-f", str(tmp_path / "f.png")]) == 0
    reasons = [row["reason"] for row in json.loads(capsys.readouterr().out)]
    assert reasons.count("no mask file") == 1
    assert Picture.open(tmp_path / "f.png").width > 500
