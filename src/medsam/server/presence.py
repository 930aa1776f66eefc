"""Who works in which case: a lease of each annotator on a case, which ends when the client is gone or its user idle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class _Present:
    active: float
    seen: float


class Presence:
    """The annotators who work in cases; threads may share it.

    Args:
        idle_seconds: Without an act, as a prompt, a stroke or a save, after which somebody counts as gone.
        live_seconds: Without any request.
        clock: Seconds that only grow.
    """

    def __init__(
        self, idle_seconds: float, live_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._idle, self._live, self._clock = idle_seconds, live_seconds, clock
        self._present: dict[tuple[str, str], _Present] = {}
        self._lock = threading.Lock()

    def note(self, case: str, annotator: str, *, acts: bool) -> None:
        """Note a request of somebody on a case; one who only looks does not stay for ever."""
        now = self._clock()
        with self._lock:
            self._sweep(now)
            found = self._present.setdefault((case, annotator), _Present(now, now))
            found.seen = now
            if acts:
                found.active = now

    def leave(self, case: str, annotator: str) -> None:
        """Note that somebody closed a case."""
        with self._lock:
            self._present.pop((case, annotator), None)

    def working(self) -> dict[str, list[tuple[str, float]]]:
        """Case to annotators who work in it now, by name, each with the seconds since the last act."""
        now, found = self._clock(), dict[str, list[tuple[str, float]]]()
        with self._lock:
            self._sweep(now)
            for (case, annotator), one in sorted(self._present.items()):
                found.setdefault(case, []).append((annotator, now - one.active))
        return found

    def _sweep(self, now: float) -> None:
        for key, one in list(self._present.items()):
            if now - one.seen > self._live or now - one.active > self._idle:
                del self._present[key]
