"""The folder of a run: what it needs on the disk, asked before the first step."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from runs import same, weights
from tiny import CONFIG, Watched, build, source, train

from medsam.errors import DataError, MedsamError, OutputError
from medsam.files.disk_space import Need
from medsam.training.run.folder import claim_folder, estimate_needs

KEPT = replace(CONFIG, encoder="frozen", cache_embeddings=True)


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**12, used=0, free=size))


def test_features_that_are_kept_count_and_those_that_are_there_do_not(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 32 * 8 * 8 * 4  # channels, grid and bytes of the tiny model's embedding
    size = (9 + 3) * one  # to learn from and to measure on
    weights, features = estimate_needs(
        build(discs, tmp_path / "run", replace(KEPT, cache_folder=str(tmp_path / "kept"))), source(discs, "train")
    )
    assert features == Need(tmp_path / "kept", size, "the features of 12 pictures that are kept")
    train(discs, tmp_path / "run", replace(KEPT, cache_folder=str(tmp_path / "kept")))
    assert size <= sum(file.stat().st_size for file in (tmp_path / "kept").rglob("*.embedding")) < 1.1 * size
    _, again = estimate_needs(
        build(discs, tmp_path / "again", replace(KEPT, cache_folder=str(tmp_path / "kept"))), source(discs, "train")
    )
    assert again.size == 0
    free(monkeypatch, weights.size + size - 1)
    train(discs, tmp_path / "again", replace(KEPT, cache_folder=str(tmp_path / "kept")))
    with pytest.raises(OutputError, match="12 pictures"):
        train(discs, tmp_path / "fresh", KEPT)
    assert not (tmp_path / "fresh").exists()


def test_a_folder_is_claimed_by_the_run_it_has_only(tmp_path: Path) -> None:
    with ExitStack() as held:
        assert not claim_folder(tmp_path / "new", CONFIG, held, resume=False, wait=0)
        assert not (tmp_path / "new").exists()
        (tmp_path / "config.json").write_text(CONFIG.to_json())
        with pytest.raises(DataError, match=r"has a run already; .*--resume"):
            claim_folder(tmp_path, CONFIG, held, resume=False, wait=0)
        with pytest.raises(DataError, match=r"another configuration \(seed 0 -> 1\)"):
            claim_folder(tmp_path, replace(CONFIG, seed=1), ExitStack(), resume=True, wait=0)
    with ExitStack() as held:
        assert claim_folder(tmp_path, replace(CONFIG, workers=3), held, resume=True, wait=0)
        with pytest.raises(OutputError, match="another run writes to"):
            claim_folder(tmp_path, CONFIG, ExitStack(), resume=True, wait=0)


def test_a_run_goes_on_with_the_data_it_began_with_only(discs: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(discs, tmp_path / "discs"))
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


def test_two_at_once_do_not_train_in_one_folder(discs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tried: list[str] = []

    def try_too(number: int) -> None:
        del number
        if tried:
            return
        left = sorted(path.name for path in run.rglob("*"))
        for resume in (True, False):
            with pytest.raises(MedsamError) as refusal:
                train(discs, run, resume=resume, wait=0.2)
            tried.append(str(refusal.value))
        assert sorted(path.name for path in run.rglob("*")) == left

    train(discs, run, learn=Watched(source(discs, "train"), try_too))
    assert "another run writes to" in tried[0]
    assert "has a run already" in tried[1]
    train(discs, tmp_path / "alone")
    assert same(weights(run), weights(tmp_path / "alone"))
    train(discs, run, resume=True)  # free again
