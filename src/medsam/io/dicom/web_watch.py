"""The most that an archive may cost, and a clock that shuts its connections when time is up.

A timeout of a socket starts anew with every byte, so that a byte now and then keeps a connection open for days, in the
header of an answer as well as in its body. The clock runs in a thread of its own and ends every phase.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TransferLimits:
    """The most that an archive may cost.

    Args:
        answer_bytes: Of an answer in JSON.
        series_bytes: Of a whole series; the free space of the disk bounds it too.
        instance_bytes: Of one object.
        instances: Objects of a series.
        seconds: For the whole conversation.
        idle_seconds: After so long without `idle_bytes` the archive counts as away.
        idle_bytes: See there.
    """

    answer_bytes: int = 16 << 20
    series_bytes: int = 64 << 30
    instance_bytes: int = 4 << 30
    instances: int = 100_000
    seconds: float = 4 * 3600.0
    idle_seconds: float = 60.0
    idle_bytes: int = 16 << 10


LIMITS = TransferLimits()


class ConnectionWatch:
    """A clock over the connections of one conversation; it shuts them when time is up.

    `verdict` says in words why it did; it is empty before.
    """

    def __init__(self, limits: TransferLimits) -> None:
        self.verdict = ""
        self._limits, self._moved, self._sockets = limits, 0, list[socket.socket]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def add(self, connection: socket.socket) -> None:
        """Take a connection into care."""
        self._sockets.append(connection.dup())  # TLS takes the first handle away

    def count(self, size: int) -> None:
        """Note bytes that came or went."""
        self._moved += size

    def close(self) -> None:
        """Stop the clock."""
        self._done.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()

    def _look(self) -> None:
        limits, before = self._limits, 0
        end = time.monotonic() + limits.seconds
        while not self.verdict:
            if self._done.wait(max(min(limits.idle_seconds, end - time.monotonic()), 0)):
                return
            if time.monotonic() >= end:
                self.verdict = f"took more than {limits.seconds:g} seconds"
            elif self._moved - before < limits.idle_bytes:
                self.verdict = f"sent nothing, or next to nothing, for {limits.idle_seconds:g} seconds"
            before = self._moved
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def make_adapter(watch: ConnectionWatch) -> Any:  # noqa: ANN401 - requests is imported inside
    """What opens connections for a session, each of them known to the watch from its first byte on."""
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401 - requests' own
            pool = super().get_connection_with_tls_context(*args, **more)
            pool.ConnectionCls = _make_watched(pool.ConnectionCls, watch)
            return pool

    return Adapter(max_retries=0)


def _make_watched(kind: Any, watch: ConnectionWatch) -> Any:  # noqa: ANN401 - a class of urllib3
    if hasattr(kind, "medsam_watch"):
        return kind

    class Watched(kind):  # type: ignore[misc]
        medsam_watch = watch

        def _new_conn(self) -> Any:  # noqa: ANN401 - a socket, before TLS
            connection = super()._new_conn()
            watch.add(connection)
            return connection

    return Watched
