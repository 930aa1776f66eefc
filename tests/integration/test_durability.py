"""Nothing acknowledged is lost: small versions of benchmarks/durability.py, and a disk that fills up in mid-save."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage

import numpy as np
import pytest
from serving import SHAPE, Served, bearer, passing_files, scan_file, serve

from durability import kill_while_saving, write_at_once
from medsam.annotation.study.project import open_project

pytestmark = pytest.mark.integration


def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    found = kill_while_saving(tmp_path / "s", kills=3)
    assert (found.missing, found.problems) == ([], [])
    assert found.acknowledged >= 3 * 8


def test_writers_on_one_case_lose_no_update(tmp_path: Path) -> None:
    found = write_at_once(tmp_path / "s", writers=4, saves=20)
    assert (found.missing, found.forks, found.problems, found.acknowledged) == ([], 0, [], 80)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=3m", "medsam-test", str(place)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def save(served: Served, version: int, values: np.ndarray):
    path = f"/api/v1/cases/{served.case}/mask/stored/{version % SHAPE[0]}"
    headers = bearer() | {"If-Match": f'"v{version}"', "Content-Type": "application/octet-stream"}
    return served.client.put(path, content=values.tobytes(), headers=headers)


def test_a_full_disk_is_507_and_work_goes_on_when_there_is_room(small_disk: Path) -> None:
    rng = np.random.default_rng(0)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    with serve(small_disk) as served:
        version, told = 0, {}
        for _ in range(2000):
            values = rng.integers(0, 250, SHAPE[1:]).astype(np.uint8)
            answer = save(served, version, values)
            if answer.status_code != 200:
                break
            version = answer.json()["version"]
            told[answer.json()["revision"]] = values
        assert answer.status_code == 507 and answer.json()["error"] == "OutputError", answer.text
        assert len(told) > 20
        assert served.head()["version"] == version and served.client.get("/healthz").status_code == 200
        noise = scan_file(small_disk.parent / "noise.nii.gz", rng.integers(0, 9999, (20, 300, 300)).astype(np.int16))
        upload = served.client.post(
            "/api/v1/cases?name=a.nii.gz&modality=MR", content=noise.read_bytes(),
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        assert upload.status_code == 507
        with suppress(OSError):
            small_disk.joinpath("rest").write_bytes(bytes(disk_usage(small_disk).free))
        export = served.client.get(f"/api/v1/cases/{served.case}/export?format=nifti")
        assert export.status_code == 507 and "full" in export.json()["got"], export.text
        small_disk.joinpath("rest").unlink()
        assert passing_files(served) == [] and not (small_disk / "project" / "uploads").exists()
        ballast.unlink()
        again = save(served, version, values)
        assert again.status_code == 200 and again.json()["version"] == version + 1
    with open_project(small_disk / "project") as project:
        assert project.check() == []
        case = project.cases()[0].id
        assert [r for _, kind, r, _ in project.history(case) if kind == "save"] == [*told, again.json()["revision"]]
        for revision, drawn in told.items():
            index = list(told).index(revision) % SHAPE[0]
            assert np.array_equal(project.revision(revision).labels[index], drawn)
