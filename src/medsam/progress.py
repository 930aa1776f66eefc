"""How far a job is: the one shape in which all code tells it. The command draws it; elsewhere a line says it."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int | None], None]  # done so far, and in all, or None where that is not known
TERMINAL_SECONDS, LINE_SECONDS = 0.2, 10.0  # between two tellings: on a terminal, where one line grows, and elsewhere
RARER = 0.01  # of the time a job has taken lies between two lines at least, so that a week does not fill a log
PACE_STEPS = 500  # over which the time left is reckoned


class StepProgress(Protocol):
    """A progress that takes a word on how it goes too, as the loss of a training step."""

    def __call__(self, done: int, total: int | None, text: str = "") -> None:
        """Tell how far the job is."""


def show_lines(what: str, *, in_bytes: bool = False, clock: Callable[[], float] = time.monotonic) -> StepProgress:
    """Give a progress that writes to standard error, so rarely that a short job says nothing.

    Args:
        what: Is under way.
        in_bytes: Whether it counts bytes, which are shown as MB.
        clock: Gives the seconds now.
    """
    began = last = clock()
    grown, pace = False, Pace()

    def tell(done: int, total: int | None, text: str = "") -> None:
        nonlocal last, grown
        terminal, now = sys.stderr.isatty(), clock()
        left = pace.estimate_left(done, total, now)
        ended = grown and total is not None and done >= total
        pause = TERMINAL_SECONDS if terminal else max(LINE_SECONDS, RARER * (now - began))
        if now - last < pause and not ended:
            return
        last, grown = now, terminal and not ended
        numbers = [f"{n / 1e6:.0f}" if in_bytes else str(n) for n in (done, total) if n is not None]
        line = f"{what}: {' of '.join(numbers)}{' MB' if in_bytes else ''}"
        if not terminal:
            line = "  ".join(part for part in (line, text, left) if part)
        print(f"\r{line}" if terminal else line, end="" if grown else "\n", file=sys.stderr)  # noqa: T201

    return tell


class Pace:
    """The time a job has left, by how long its latest steps took with all that was done between them."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque(maxlen=PACE_STEPS)

    def estimate_left(self, done: int, total: int | None, seconds: float) -> str:
        """Estimate the time left, as a person says it; "" where it is not known.

        Args:
            done: So far.
            total: In all, where that is known.
            seconds: Now, by any clock.
        """
        self._seen.append((done, seconds))
        first, first_seconds = self._seen[0]
        if total is None or done <= first:
            return ""
        rest = (seconds - first_seconds) / (done - first) * (total - done)
        if rest >= 3600:
            return f"{int(rest // 3600)} h {int(rest % 3600 // 60):02d} min left"
        return f"{int(rest // 60)} min {int(rest % 60):02d} s left"
