"""A run that is told to stop: by signals to it, to its group, to torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from runs import begun, losses, run_script, same, weights
from tiny import TOLD, train

from medsam.training.run import sealed


@pytest.mark.integration
@pytest.mark.parametrize("how", ["told", "ctrl-c", "ctrl-c-and-torchrun"])
def test_who_is_told_to_stop_saves_and_goes_on(discs: Path, tmp_path: Path, how: str) -> None:
    assert run_script(how, tmp_path, 0, 0, discs) == "4 False True\n"
    assert [p.name for p in sealed.list_checkpoints(tmp_path / "run")] == ["step-00000004"]
    assert train(discs, tmp_path / "run", TOLD, resume=True).finished
    train(discs, tmp_path / "whole", TOLD)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@contextmanager
def long_run(discs: Path, folder: Path, *launcher: str) -> Iterator[subprocess.Popen[str]]:
    """A run with loader processes that has done three steps and would go on for long, in a group of its own."""
    with begun(*launcher, arguments=("long", folder, 0, 0, discs)) as script:
        deadline = time.monotonic() + 120
        while len(losses(folder / "run")) < 3 and time.monotonic() < deadline and script.poll() is None:
            time.sleep(0.05)
        yield script


@pytest.mark.integration
@pytest.mark.parametrize("whom", ["torchrun", "all of the group", "all of the group, by Ctrl-C"])
def test_a_run_with_loader_processes_saves_whoever_is_told_to_end(discs: Path, tmp_path: Path, whom: str) -> None:
    many = (str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2")
    with long_run(discs, tmp_path, *(many if whom == "torchrun" else (sys.executable,))) as script:
        if whom == "torchrun":
            script.terminate()
        else:
            os.killpg(script.pid, signal.SIGINT if "Ctrl-C" in whom else signal.SIGTERM)
        said, wrong = script.communicate(timeout=120)
    assert said.count("False") == (2 if whom == "torchrun" else 1), said + wrong  # not finished
    assert "DataLoader worker" not in wrong
    steps = len(losses(tmp_path / "run"))
    assert steps >= 3
    assert [one.name for one in sealed.list_checkpoints(tmp_path / "run")] == [f"step-{steps:08d}"]


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loader processes notice by themselves, later")
def test_loader_processes_leave_with_a_run_that_is_killed(discs: Path, tmp_path: Path) -> None:
    with long_run(discs, tmp_path, sys.executable) as script:
        children = Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()
        assert len(children) >= 2
        script.kill()
        script.wait()
        deadline = time.monotonic() + 10
        while any(alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(alive(child) for child in children)


def alive(process: str) -> bool:
    """Whether it runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.integration
def test_a_second_ctrl_c_ends_at_once(discs: Path, tmp_path: Path) -> None:
    assert run_script("ctrl-c-twice", tmp_path, 0, 0, discs) == "interrupted True\n"
    assert not sealed.list_checkpoints(tmp_path / "run")
