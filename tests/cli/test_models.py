"""The models verb, as a person types it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from medsam.cli.app import run
from medsam.models.networks.medsam import build
from medsam.models.weights.catalog import CATALOG, find_cached, list_own_models, resolve
from medsam.models.weights.checkpoint import load_checkpoint


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MEDSAM_OFFLINE", "1")
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training file of LiteMedSAM, as its training script leaves it."""
    model = build("tiny_vit", initialise=False)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.zero_()
    path = tmp_path_factory.mktemp("weights") / "medsam_lite_latest.pth"
    torch.save({"model": model.state_dict(), "optimizer": {}, "epoch": 4, "loss": 0.1, "best_loss": 0.1}, path)
    return path


def test_list_shows_every_model_and_whether_it_is_here(capsys):
    assert run(["models", "list"]) == 0
    said = capsys.readouterr().out
    for name in CATALOG:
        assert name in said
    assert "lite-medsam" in said.splitlines()[1]
    assert "Default: lite-medsam" in said


def test_list_as_json_is_for_programs(capsys, trained):
    assert run(["models", "import", str(trained), "--name", "mine"]) == 0
    capsys.readouterr()
    assert run(["models", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["sam-vit-h"]["bytes"] == 2_564_550_879
    assert rows["lite-medsam"]["cached"] is None
    assert rows["mine"]["cached"].endswith("mine.safetensors")


def test_list_does_not_load_torch():
    code = "import sys; from medsam.cli.app import run; run(['models', 'list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_imported_weights_load_by_their_name(capsys, trained, cache):
    assert run(["models", "import", str(trained), "--name", "mine"]) == 0
    assert "mine: tiny_vit, 256 pad min-max" in capsys.readouterr().out
    path, manifest = resolve("mine")
    assert path == cache / "mine.safetensors"
    assert manifest.name == "mine"
    assert manifest.licence is None
    assert load_checkpoint(path, manifest)[1] == manifest
    assert run(["models", "verify", "mine"]) == 0
    assert "mine: good, 435 tensors of tiny_vit, layout safetensors" in capsys.readouterr().out


def test_import_refuses_taken_and_impossible_names(capsys, trained):
    assert run(["models", "import", str(trained), "--name", "lite-medsam"]) == 1
    assert run(["models", "import", str(trained), "--name", "../mine"]) == 1
    assert run(["models", "import", str(trained), "--name", "mine"]) == 0
    assert run(["models", "import", str(trained), "--name", "mine"]) == 1
    assert "add --replace" in capsys.readouterr().err
    assert run(["models", "import", str(trained), "--name", "mine", "--replace"]) == 0


def test_import_asks_what_a_bare_vit_is_like(capsys, tmp_path):
    path = tmp_path / "who.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    assert run(["models", "import", str(path), "--name", "who"]) == 1
    assert "--like medsam-vit-b" in capsys.readouterr().err
    assert run(["models", "import", str(path), "--name", "who", "--like", "sam-vit-b"]) == 1
    assert "313 missing" in capsys.readouterr().err
    assert run(["models", "import", str(path), "--name", "who", "--like", "nothing"]) == 1
    assert list_own_models() == {}


def test_import_like_another_model_takes_its_pre_processing(trained):
    assert run(["models", "import", str(trained), "--name", "first"]) == 0
    assert run(["models", "import", str(trained), "--name", "second", "--like", "first"]) == 0
    first, second = list_own_models()["first"], list_own_models()["second"]
    assert (first.fit, first.scaling, first.upsample) == (second.fit, second.scaling, second.upsample)


def test_convert_there_and_back_keeps_every_weight(capsys, trained, tmp_path):
    there, back = tmp_path / "there.safetensors", tmp_path / "back.pth"
    assert run(["models", "convert", str(trained), str(there)]) == 0
    assert run(["models", "convert", str(there), str(back), "--layout", "flat"]) == 0
    before = there.read_bytes()
    assert run(["models", "convert", str(back), str(there)]) == 1
    assert run(["models", "export", str(back), str(there)]) == 1
    said = capsys.readouterr()
    assert said.err.count("exists already") == 2
    assert there.read_bytes() == before
    assert "flat, tiny_vit, sha256" in said.out
    original = torch.load(trained, weights_only=True)["model"]
    result = torch.load(back, weights_only=True)
    assert list(original) == list(result)
    assert all(torch.equal(original[name], result[name]) for name in original)


def test_convert_refuses_what_a_layout_cannot_hold(capsys, trained, tmp_path):
    assert run(["models", "convert", str(trained), str(tmp_path / "folder")]) == 1
    assert "expected a ViT" in capsys.readouterr().err
    assert run(["models", "convert", str(trained), str(tmp_path / "w.onnx")]) == 1
    assert run(["models", "convert", str(trained), str(tmp_path / "w.pth"), "--layout", "keras"]) == 2


def test_verify_everything_reports_each_and_fails_on_one(capsys, trained, cache):
    assert run(["models", "verify"]) == 0
    assert capsys.readouterr().out.startswith("openmedsam-lite-open: good, 435 tensors")  # comes with the package
    run(["models", "import", str(trained), "--name", "good"])
    (cache / "lite_medsam.pth").write_bytes(b"damaged")
    capsys.readouterr()
    assert run(["models", "verify"]) == 1
    said = capsys.readouterr().out
    assert "lite-medsam: FAILED" in said
    assert "good: good" in said
    assert run(["models", "verify", "lite-medsam"]) == 1


def test_fetch_offline_and_unknown_are_one_line(capsys):
    assert run(["models", "fetch"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "MEDSAM_OFFLINE" in said
    assert run(["models", "fetch", "nothing"]) == 1
    assert run(["models", "fetch", "--nothing"]) == 2


def test_fetch_of_what_is_here_does_nothing(capsys, cache, monkeypatch):
    monkeypatch.delenv("MEDSAM_CACHE")
    here = find_cached("lite-medsam")
    monkeypatch.setenv("MEDSAM_CACHE", str(cache.parent))
    if here is None:
        monkeypatch.delenv("MEDSAM_OFFLINE")
    else:
        cache.mkdir(parents=True)
        shutil.copy(here, cache)
    assert run(["models", "fetch", "lite-medsam"]) == 0
    assert run(["models", "fetch", "lite-medsam"]) == 0
    assert "already here" in capsys.readouterr().out
    assert run(["models", "verify", "lite-medsam"]) == 0


def test_a_mean_is_kept_under_its_name_with_a_card(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "average", "openmedsam-lite", "openmedsam-lite", "--name", "halfway"]) == 0
    assert "0.5 openmedsam-lite, 0.5 openmedsam-lite" in capsys.readouterr().out
    card = (cache / "halfway.md").read_text()
    assert card.count("| openmedsam-lite | 0.5 | ") == 2
    assert run(["models", "verify", "halfway"]) == 0
    assert run(["models", "average", "openmedsam-lite", "halfway", "--name", "halfway"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert run(["models", "average", "openmedsam-lite", "halfway", "--name", "x", "--weights", "a,b"]) == 1
    assert "--weights 0.5,0.5" in capsys.readouterr().err
