"""Leases: who holds a seat at the server, given back when it is released, when its client is gone or its user idle."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from medsam.server.nninteractive_scan import InteractiveScan
from medsam.server.problems import AtCapacity, LeaseGone


@dataclass(eq=False)
class _Lease:
    annotator: str
    held: InteractiveScan
    active: float
    seen: float
    busy: int = 0


class Leases:
    """The leases of a server; threads may share them.

    Args:
        most: Leases at once.
        idle_seconds: Without an action of the user, after which a lease ends.
        live_seconds: Without any request, after which its client counts as gone.
        clock: Seconds that only grow.
    """

    def __init__(
        self, most: int, idle_seconds: float, live_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most, self.idle_seconds, self.live_seconds = most, idle_seconds, live_seconds
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Leases that are held, those that ran out not counted."""
        self.sweep()
        return len(self._leases)

    def claim(self, annotator: str, held: InteractiveScan) -> str:
        """Take a seat.

        Returns:
            The token that names the lease.

        Raises:
            AtCapacity: all are taken.
        """
        self.sweep()
        with self._lock:
            if len(self._leases) >= self.most:
                raise AtCapacity(
                    f"{self.most} sessions are open", expected="fewer", fix="close one, or try again in ten seconds"
                )
            token, now = secrets.token_hex(16), self._clock()
            self._leases[token] = _Lease(annotator, held, now, now)
        return token

    @contextmanager
    def using(self, token: str | None, annotator: str) -> Iterator[InteractiveScan]:
        """What a lease holds, for an action of its user; it does not end meanwhile.

        Raises:
            LeaseGone: there is none of this annotator under this token.
        """
        lease = self._find(token, annotator)
        with self._lock:
            lease.busy += 1
        try:
            yield lease.held
        finally:
            with self._lock:
                lease.busy -= 1
                lease.active = lease.seen = self._clock()

    def remaining(self, token: str | None, annotator: str, *, alive: bool = False) -> float:
        """Seconds until a lease ends for want of action.

        Args:
            alive: The client says that it is still there.

        Raises:
            LeaseGone: as using.
        """
        lease = self._find(token, annotator)
        with self._lock:
            if alive:
                lease.seen = self._clock()
            return max(0.0, self.idle_seconds - (self._clock() - lease.active))

    def release(self, token: str | None, annotator: str) -> None:
        """Give a seat back; one that is gone already is no error."""
        with self._lock:
            if token is not None and token in self._leases and self._leases[token].annotator == annotator:
                del self._leases[token]

    def sweep(self) -> None:
        """Let go of the leases that ran out."""
        with self._lock:
            now = self._clock()
            for token, lease in list(self._leases.items()):
                over = now - lease.seen > self.live_seconds or now - lease.active > self.idle_seconds
                if over and not lease.busy:
                    del self._leases[token]

    def _find(self, token: str | None, annotator: str) -> _Lease:
        self.sweep()
        with self._lock:
            lease = self._leases.get(token or "")
        if lease is None or lease.annotator != annotator:
            raise LeaseGone("a session that ended or never was", expected="an open session", fix="connect again")
        return lease
