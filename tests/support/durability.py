"""Nothing acknowledged is lost: a server killed while annotations are saved, and many writers on one case."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import project_writer
from project_writer import started
from server_process import ServerProcess
from serving import SHAPE

from medsam.annotation.study.project import open_project

ENOUGH = 8  # saves between two kills


@dataclass
class Losses:
    """What an experiment found.

    Args:
        acknowledged: Saves that were answered with success.
        missing: Of them, revisions that are not in the history or hold another mask.
        forks: Revisions that were not made from the one before them.
        problems: What the database says of itself.
        seconds: How long it took.
    """

    acknowledged: int = 0
    missing: list[int] = field(default_factory=list)
    forks: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def kill_while_saving(folder: Path, kills: int, address: str | None = None) -> Losses:
    """Kill a server again and again while a client saves slices, and look for what it had acknowledged."""
    start, told = time.perf_counter(), dict[int, int]()
    server = ServerProcess(folder, address)
    for kill in range(kills):
        case = server.client().get("/api/v1/cases").json()[0]["id"]
        saver = threading.Thread(target=_save_until_killed, args=(server, case, told))
        before = len(told)
        saver.start()
        while len(told) < before + ENOUGH and saver.is_alive():
            time.sleep(0.001)
        time.sleep(0.0007 * (kill % 13))  # at another point of a save each time
        server.kill()
        saver.join()
        server.start()
    server.stop()
    found = Losses(acknowledged=len(told))
    with open_project(address or folder) as project:
        reached = {revision for _, _, revision, _ in project.history(project.cases()[0].id)}
        for revision, value in told.items():
            if (
                revision not in reached
                or not (project.revision(revision).labels[value % SHAPE[0]] == 1 + value % 9).all()
            ):
                found.missing.append(revision)
        found.problems = project.check()
    found.seconds = time.perf_counter() - start
    return found


def _save_until_killed(server: ServerProcess, case: str, told: dict[int, int]) -> None:
    value = len(told)
    try:
        with server.client() as client:
            version = client.get(f"/api/v1/cases/{case}/head").json()["version"]
            while True:
                value += 1
                data = np.full(SHAPE[1:], 1 + value % 9, np.uint8).tobytes()
                headers = {"If-Match": f'"v{version}"', "Content-Type": "application/octet-stream"}
                answer = client.put(
                    f"/api/v1/cases/{case}/mask/stored/{value % SHAPE[0]}", content=data, headers=headers
                )
                if answer.status_code != 200:
                    raise AssertionError(answer.text)
                version = answer.json()["version"]
                told[answer.json()["revision"]] = value
    except httpx.TransportError:
        return  # it was killed


def write_at_once(folder: Path, writers: int, saves: int, address: str | None = None) -> Losses:
    """Let processes save on one line of states of one case, and look for acknowledged saves and lost updates."""
    folder.mkdir(parents=True, exist_ok=True)
    place, start = address or str(folder / "p"), time.perf_counter()
    project, case = started(place)
    project.close()
    names = [f"w{n}" for n in range(writers)]
    words = [sys.executable, project_writer.__file__, place, case]
    processes = [subprocess.Popen([*words, name, str(saves), str(folder)]) for name in names]
    codes = [process.wait() for process in processes]
    told = [int(line) for name in names for line in (folder / f"{name}.log").read_text().split()]
    with open_project(place) as project:
        reached = [revision for _, _, revision, _ in project.history(case) if revision is not None]
        parents = [project.revision(revision).parent for revision in reached]
        problems = project.check() + [f"a writer ended with {code}" for code in codes if code]
        if project.head(case, "team").version != len(told):
            problems.append("the version of the head is not the number of saves")
    lost = sorted(set(told) - set(reached))
    forks = sum(parent != before for parent, before in zip(parents[1:], reached, strict=False))
    return Losses(len(told), lost, forks, problems, time.perf_counter() - start)
