"""Scans that clients of MONAI Label sent for a while."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from medsam.server.problems import NotFound


@dataclass(eq=False)
class _Session:
    path: Path
    annotator: str
    used: float = field(default_factory=time.monotonic)


class Sessions:
    """Scans that clients sent for a while and not for the project; threads may share it."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Session] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, path: Path, annotator: str, *, most: int, idle_seconds: float) -> str:
        """Keep a scan, and let go of those that are idle or too many."""
        self.rest(idle_seconds)
        session = secrets.token_hex(16)
        with self._lock:
            over = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - most + 1)]
            self._open[session] = _Session(path, annotator)
        for one in over:
            one.path.unlink(missing_ok=True)
        return session

    def find(self, session: str, annotator: str) -> Path:
        """The file of one's own session.

        Raises:
            NotFound: there is none.
        """
        with self._lock:
            one = self._open.get(session)
        if one is None or one.annotator != annotator:
            raise NotFound("a session that is not there", expected="an open session", fix="send the scan again")
        one.used = time.monotonic()
        return one.path

    def rest(self, idle_seconds: float) -> None:
        """End the sessions that nobody uses."""
        now = time.monotonic()
        with self._lock:
            idle = [session for session, one in self._open.items() if now - one.used >= idle_seconds]
            gone = [self._open.pop(session) for session in idle]
        for one in gone:
            one.path.unlink(missing_ok=True)

    def drop(self, session: str, annotator: str) -> None:
        """End one's own session; its file goes."""
        self.find(session, annotator).unlink(missing_ok=True)
        with self._lock:
            self._open.pop(session, None)  # another request may have ended it meanwhile
