"""The clock over connections: it shuts what is idle or takes too long, and nothing else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from medsam.io.dicom.web_watch import LIMITS, ConnectionWatch

SHORT = replace(LIMITS, seconds=20.0, idle_seconds=0.2, idle_bytes=100)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def test_an_idle_connection_is_shut(ends: tuple[socket.socket, socket.socket]) -> None:
    with closing(ConnectionWatch(SHORT)) as watch:
        watch.add(ends[0])
        watch.count(99)
        assert ends[0].recv(1) == b""  # waits until the clock shuts it
        assert watch.verdict == "sent nothing, or next to nothing, for 0.2 seconds"


def test_a_busy_connection_is_shut_when_all_the_time_is_used(ends: tuple[socket.socket, socket.socket]) -> None:
    with closing(ConnectionWatch(replace(SHORT, seconds=0.5, idle_bytes=0))) as watch:
        watch.add(ends[0])
        assert ends[0].recv(1) == b""
        assert watch.verdict == "took more than 0.5 seconds"


def test_a_connection_that_moves_enough_stays_open(ends: tuple[socket.socket, socket.socket]) -> None:
    with closing(ConnectionWatch(replace(SHORT, idle_seconds=1, idle_bytes=1))) as watch:
        watch.add(ends[0])
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            watch.count(1000)
            time.sleep(0.01)
        ends[1].sendall(b"x")
        assert ends[0].recv(1) == b"x"
        assert watch.verdict == ""
