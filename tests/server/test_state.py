"""Two who save at once are told of each other."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from serving import OTHER, Served, prompt, scan_file, whole_mask

from medsam.errors import InputFileError
from medsam.server.state import READS_AT_ONCE, note_answer


def test_a_save_that_comes_too_late_is_told_both_sides_and_changes_nothing(served: Served) -> None:
    assert prompt(served, version=0).status_code == 200
    before = whole_mask(served)
    late = prompt(served, version=0, label=2)
    assert late.status_code == 409 and late.headers["content-type"] == "application/problem+json"
    told = late.json()
    assert told["error"] == "Conflict" and told["yours"] == {"version": 0}
    assert (told["theirs"]["version"], told["theirs"]["annotator"]) == (1, "ana")
    assert np.array_equal(whole_mask(served), before)
    assert (
        prompt(served, version=0, token=OTHER).status_code == 200
    )  # another annotator has a line of states of their own
    missing = served.client.post(f"/api/v1/cases/{served.case}/undo")
    assert missing.status_code == 428 and "If-Match" in missing.json()["fix"] + missing.json()["got"]
    assert prompt(served, slice=77).status_code == 422


def test_files_that_were_sent_are_read_elsewhere_and_few_at_a_time(served: Served, tmp_path: Path) -> None:
    state, bad = served.app.state.server, tmp_path / "bad.nii.gz"
    bad.write_bytes(b"broken")
    with pytest.raises(InputFileError):
        state.check_upload(bad)
    state.check_upload(scan_file(tmp_path / "good.nii.gz"))
    taken = [state.reads.acquire(timeout=0) for _ in range(READS_AT_ONCE + 1)]
    assert taken == [True] * READS_AT_ONCE + [False]
    for _ in range(READS_AT_ONCE):
        state.reads.release()


def test_a_clock_that_is_set_back_or_forward_makes_no_wait_longer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, asked = served.app.state.server, time.monotonic()
    for wall in (2e9, 1e9):
        monkeypatch.setattr("medsam.server.state.time.time", lambda wall=wall: wall)
        note_answer(state, served.case, "ana", asked)
    spent = time.monotonic() - asked
    waits = [one for one in served.project.activities() if one.phase == "model"]
    assert [one.at for one in waits] == [2e9, 1e9] and all(0 <= one.seconds <= spent for one in waits)
