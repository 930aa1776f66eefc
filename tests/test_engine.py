"""Running a function over shards: the same results in the same order, whatever dies on the way."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medsam.engine import run
from medsam.errors import DataError, RemoteError

HERE = """
import os, signal, time
from pathlib import Path

def square(n):
    return n * n

def refuse(n):
    raise ValueError(f"shard {n}")

def die_once(task):
    number, folder = task
    mark = Path(folder) / str(number)
    if number % 3 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def wait_long(folder):
    (Path(folder) / f"{os.getpid()}.pid").touch()
    time.sleep(60)

def die(n):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Functions that spawned workers can import."""
    (tmp_path / "engine_tasks.py").write_text(HERE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import engine_tasks

    return engine_tasks


def test_results_come_in_the_order_of_the_shards(tasks):
    assert list(run(tasks.square, [3, 1, 2])) == [9, 1, 4]
    assert list(run(tasks.square, list(range(20)), engine="processes", workers=2)) == [n * n for n in range(20)]
    assert list(run(tasks.square, [], engine="processes")) == []


def test_shards_of_a_killed_worker_are_run_again(tasks, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    shards = [(n, str(marks)) for n in range(7)]
    assert list(run(tasks.die_once, shards, engine="processes", workers=2)) == list(range(7))
    assert {int(p.name) for p in marks.iterdir()} == {0, 3, 6}


def test_a_shard_that_always_kills_its_worker_is_reported(tasks):
    with pytest.raises(RemoteError, match="died 4 times"):
        list(run(tasks.die, [1], engine="processes", workers=1))


def test_errors_of_the_function_are_raised_here(tasks):
    with pytest.raises(ValueError, match="shard 5"):
        list(run(tasks.refuse, [5], engine="processes", workers=1))


def test_unknown_engines_and_misplaced_addresses_are_refused():
    with pytest.raises(DataError, match="local, processes, ray"):
        run(str, [], engine="spark")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="--engine ray"):
        run(str, [], engine="processes", address="ray://here")
    with pytest.raises(DataError, match="at least 1"):
        run(str, [], engine="processes", workers=0)


def test_workers_end_with_the_process_that_was_killed(tasks, tmp_path):
    waiting = (
        "import engine_tasks\nfrom medsam.engine import run\n"
        "if __name__ == '__main__':\n"
        f"    list(run(engine_tasks.wait_long, [{str(tmp_path)!r}] * 2, engine='processes', workers=2))\n"
    )
    (tmp_path / "main.py").write_text(waiting)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")])
    workers = _wait_for(lambda: [int(p.stem) for p in tmp_path.glob("*.pid")], at_least=2)
    parent.kill()
    parent.wait()
    assert not _wait_for(lambda: [pid for pid in workers if _alive(pid)], at_most=0)


def _wait_for(found: Callable[[], list[int]], *, at_least: int = 0, at_most: int = 99) -> list[int]:
    end = time.monotonic() + 20
    while not at_least <= len(found()) <= at_most and time.monotonic() < end:
        time.sleep(0.05)
    return found()


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()
