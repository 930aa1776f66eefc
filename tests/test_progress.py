"""Progress without a terminal: a line now and then, and none for a short job."""

from __future__ import annotations

import io
import time

import pytest

from medsam import progress


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_short_job_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress.show_lines("slices")
    for done in range(5):
        tell(done + 1, 5)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_one_line_that_grows_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    tell = progress.show_lines("fetching a", in_bytes=True)
    tell(1_000_000, 3_000_000)
    time.sleep(1.5 * progress.TERMINAL_SECONDS)
    tell(2_000_000, 3_000_000)
    tell(3_000_000, 3_000_000)
    assert screen.getvalue() == "\rfetching a: 2 of 3 MB\rfetching a: 3 of 3 MB\n"


def test_the_time_left_by_hand() -> None:
    pace = progress.Pace()
    assert pace.estimate_left(10, 100, 50.0) == ""
    assert pace.estimate_left(12, 100, 60.0) == "7 min 20 s left"  # 5 seconds a step, 88 steps
    assert pace.estimate_left(13, None, 61.0) == ""
    assert pace.estimate_left(13, 100, 260.0) == "1 h 41 min left"  # 70 a step, 87 steps: 6,090 seconds
    assert pace.estimate_left(100, 100, 300.0) == "0 min 00 s left"


def test_a_line_says_how_far_how_and_how_long_still(capsys: pytest.CaptureFixture[str]) -> None:
    tell = progress.show_lines("train", clock=iter([0.0, 1.0, 11.0, 12.0]).__next__)
    tell(1, 5, "loss 1")
    tell(3, 5, "loss 2")  # 5 seconds a step
    tell(4, 5, "loss 3")
    assert capsys.readouterr().err == "train: 3 of 5  loss 2  0 min 10 s left\n"
