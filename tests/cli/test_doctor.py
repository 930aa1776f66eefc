"""The doctor tells what is there, what is missing and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.cli.app import run
from medsam.models.weights.catalog import fetch


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path))
    return tmp_path / "models"


def test_healthy_machine_passes_and_segments_a_disc(capsys):
    fetch("lite-medsam")
    code = run(["doctor"])
    said = capsys.readouterr().out
    assert code == int("BROKEN  core packages" in said)  # all else must be well on any machine that runs the tests
    assert said.count("BROKEN") == code
    assert "self-test: a drawn disc segmented with Dice 0.9" in said


def test_missing_weights_are_no_fault_and_come_with_their_command(capsys, empty_cache):
    code = run(["doctor"])
    said = capsys.readouterr().out
    assert code == int("BROKEN  core packages" in said)
    assert "note    default weights lite-medsam are not here yet; the first run fetches them" in said
    assert "-> medsam models fetch lite-medsam" in said
    assert not empty_cache.exists()


def test_offline_machine_is_told_what_to_put_where(capsys, empty_cache, monkeypatch):
    monkeypatch.setenv("MEDSAM_OFFLINE", "1")
    run(["doctor"])
    said = capsys.readouterr().out
    assert f"put it at {empty_cache / 'lite_medsam.pth'}" in said
    assert "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76" in said


def test_damaged_weights_are_broken(capsys, empty_cache):
    empty_cache.mkdir(parents=True)
    (empty_cache / "lite_medsam.pth").write_bytes(b"damaged")
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "BROKEN" in said
    assert "has 7 bytes" in said


def test_cache_that_cannot_be_written_is_broken(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "file"))
    assert run(["doctor"]) == 1
    assert "export MEDSAM_CACHE=" in capsys.readouterr().out


def test_package_that_is_missing_or_too_old_is_told():
    from packaging.requirements import Requirement

    from medsam.cli.doctor import find_problem

    assert find_problem(Requirement("a-package-nobody-has>=1")) == ["a-package-nobody-has missing"]
    assert find_problem(Requirement("pytest>=10000"))[0].endswith("is not >=10000")
    assert find_problem(Requirement("pytest")) == []


def test_check_that_throws_becomes_a_line():
    from medsam.cli.doctor import run_check

    def _broken_package():
        raise RuntimeError("operator torchvision::nms does not exist")
        yield

    (finding,) = run_check(_broken_package)
    assert finding.state == "BROKEN"
    assert finding.text == "broken_package: operator torchvision::nms does not exist"
