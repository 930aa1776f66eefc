"""How a run is asked to stop: SIGTERM and Ctrl-C become a question that the loop answers between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_CTRL_C = 1.0  # seconds


@contextmanager
def catch_stop_signals() -> Iterator[threading.Event]:
    """Within, SIGTERM and Ctrl-C set an event instead of ending the process; only the main thread can ask for that.

    A second Ctrl-C ends it at once, unless it comes with the first: torchrun passes on what the terminal has sent to all.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    first = time.monotonic()

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        del frame
        if not asked.is_set():
            first = time.monotonic()
            asked.set()
        elif number == signal.SIGINT and time.monotonic() - first > SAME_CTRL_C:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
