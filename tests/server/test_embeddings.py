"""Which slice is looked at, and whether it is embedded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import serving
from serving import SHAPE, Served, prompt, scan_file

from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan
from medsam.server.embeddings import AHEAD


@contextmanager
def serve(folder: Path, **more: object) -> Iterator[Served]:
    """A served scan of which no two slices are alike."""
    values = np.random.default_rng(0).integers(0, 1000, SHAPE, dtype=np.int16)
    with serving.serve(folder, **more) as served:
        case = add_scan(served.project, scan_file(folder / "noise.nii.gz", values), intensity=IntensityOptions("MR"))
        yield replace(served, case=case.id)


def embedded(served: Served, index: int, plane: str = "stored") -> bool:
    answer = served.client.get(f"/api/v1/cases/{served.case}/embeddings/{plane}/{index}")
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["embedded"])


def rest(served: Served) -> None:
    """Wait until what was asked of the model before is done."""
    done = threading.Event()
    served.app.state.server.worker.look("after", done.set)
    assert done.wait(30)


def look(served: Served, index: int, **more: object):
    return served.client.post(f"/api/v1/cases/{served.case}/embeddings", json={"slice": index} | more)


def test_the_slice_that_is_looked_at_is_embedded_and_no_other_while_somebody_asks(tmp_path: Path) -> None:
    with serve(tmp_path, ahead_seconds=3600) as served:
        answer = look(served, 3)
        assert (answer.status_code, answer.json()) == (202, {"plane": "stored", "slice": 3, "embedded": False})
        rest(served)
        assert [embedded(served, k) for k in range(6)] == [False, False, False, True, False, False]
        assert look(served, 3).json()["embedded"] is True
        assert prompt(served).status_code == 200  # on slice 2
        assert [embedded(served, k) for k in range(6)] == [False, False, True, True, False, False]
        look(served, 20, plane="coronal")
        rest(served)
        assert embedded(served, 20, "coronal")
        assert not embedded(served, 21, "coronal")


def test_slices_around_are_embedded_once_nobody_asks(tmp_path: Path) -> None:
    with serve(tmp_path, ahead_seconds=0) as served:
        prompt(served)  # on slice 2
        near, end = [2 + step for step in AHEAD if 0 <= 2 + step < 6], time.monotonic() + 60
        while not all(embedded(served, k) for k in near):
            assert time.monotonic() < end
            time.sleep(0.02)


def test_a_slice_that_is_not_there_is_refused(served: Served) -> None:
    assert look(served, 6).status_code == 404
    assert look(served, -1).status_code == 422
    assert served.client.get(f"/api/v1/cases/{served.case}/embeddings/coronal/40").status_code == 404
    assert served.client.get(f"/api/v1/cases/{'0' * 32}/embeddings/stored/0").status_code == 404
