"""The command `medsam runs`: which runs there are, and what cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ring_recipe import recipe

from medsam.cli.app import run as run_command
from medsam.training.config import read_config


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
    assert run_command(["runs", str(tmp_path / "b"), "--figure", str(figure)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert figure.read_text() == drawn
    assert run_command(["runs", str(tmp_path / "b"), "--figure", str(figure), "--overwrite"]) == 0
    assert "a/one" not in figure.read_text()
    capsys.readouterr()
    monkeypatch.chdir(tmp_path / "b/one")
    assert run_command(["runs", "."]) == 0
    assert re.search(r"^ ?one ", capsys.readouterr().out, re.MULTILINE)
