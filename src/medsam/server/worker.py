"""The threads that run the model: newest prompt first within a case, bounded, with slices ahead once nobody asks."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from medsam.errors import MedsamError
from medsam.server.memory import clear_frames

log = logging.getLogger("medsam.server")
MOST_PASSED = 4  # newer prompts of a case that come before one that waits


class QueueFull(MedsamError):
    """The model has as much waiting as it may."""


class Closing(MedsamError):
    """The server ends."""


class Superseded(MedsamError):
    """A newer prompt for the same object and slice took this one's place before it was begun."""


class Cancelled(MedsamError):
    """A job was cancelled."""


@dataclass(eq=False)
class _Waiting:
    case: str
    replaces: tuple[object, ...] | None
    run: Callable[[], object]
    future: Future[object] = field(default_factory=Future)
    passed: int = 0  # newer prompts of the case that were answered before


class ModelWorker:
    """Threads with one bounded queue; close it at the end.

    What is asked for goes first: prompts, then jobs, then the slices that somebody looks at. Slices ahead are begun only
    after a while in which nothing was asked, one at a time, so that a prompt waits for one slice at most.

    Args:
        max_waiting: Requests that may wait.
        threads: One for each device that runs the model.
        ahead_seconds: How long nothing must be asked before work ahead is begun.
    """

    def __init__(self, max_waiting: int, *, threads: int = 1, ahead_seconds: float) -> None:
        self._max_waiting = max_waiting
        self._ahead_seconds = ahead_seconds
        self._prompts: list[_Waiting] = []
        self._jobs: deque[_Waiting] = deque()
        self._looked: OrderedDict[object, Callable[[], object]] = OrderedDict()
        self._ahead: deque[Callable[[], object]] = deque()
        self._asked = time.monotonic()  # when the last request came or was answered
        self._wake = threading.Condition()
        self._closing, self._running = False, 0
        self._threads = [
            threading.Thread(target=self._loop, name=f"medsam-model-{n}", daemon=True) for n in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Prompts and jobs that are not begun."""
        with self._wake:
            return len(self._prompts) + len(self._jobs)

    @property
    def busy(self) -> bool:
        """Whether a prompt or a job runs or waits."""
        with self._wake:
            return bool(self._running or self._prompts or self._jobs)

    @property
    def alive(self) -> bool:
        """Whether the threads are there."""
        return all(thread.is_alive() for thread in self._threads)

    def prompt(self, case: str, replaces: tuple[object, ...], run: Callable[[], object]) -> Future[object]:
        """Run something soon; what waits under the same key is dropped.

        Args:
                case: Of the prompts of a case the newest comes first, until MOST_PASSED came before the oldest; cases take
                turns.
            replaces: Equal for prompts that make each other needless.
            run: Called on the model's thread.

        Raises:
            QueueFull: too much waits.
        """
        with self._wake:
            for old in [w for w in self._prompts if (w.case, w.replaces) == (case, replaces)]:
                self._prompts.remove(old)
                old.future.set_exception(
                    Superseded("a prompt that a newer one replaced", expected="the newest", fix="wait for that one")
                )
            return self._add(self._prompts, _Waiting(case, replaces, run))

    def job(self, case: str, run: Callable[[], object]) -> Future[object]:
        """Run something long after the prompts; it must call give_way now and then.

        Raises:
            QueueFull: too much waits.
        """
        with self._wake:
            return self._add(self._jobs, _Waiting(case, None, run))

    def look(self, who: object, run: Callable[[], object]) -> None:
        """Run something once no prompt and no job waits, in place of what the same one looked at before.

        Args:
            who: As a pair of case and annotator; of too many the longest waiting is dropped.
            run: Called on the model's thread; what it raises is logged.
        """
        with self._wake:
            self._looked.pop(who, None)
            self._looked[who] = run
            if len(self._looked) > self._max_waiting:
                self._looked.popitem(last=False)
            self._note_request()

    def ahead(self, runs: Sequence[Callable[[], object]]) -> None:
        """Set what is done after a while without requests, in place of what was set before."""
        with self._wake:
            self._ahead = deque(runs)
            self._note_request()

    def give_way(self) -> None:
        """Let a long job run the prompts that wait; only from the model's thread."""
        while (waiting := self._next_prompt()) is not None:
            _finish(waiting)

    def close(self, seconds: float = 10.0) -> None:
        """Finish what runs, refuse what waits, and end the thread."""
        with self._wake:
            self._closing = True
            dropped = [*self._prompts, *self._jobs]
            self._prompts.clear()
            self._jobs.clear()
            self._looked.clear()
            self._ahead.clear()
            self._wake.notify_all()
        for waiting in dropped:
            waiting.future.set_exception(_closing())
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def _add(self, queue: list[_Waiting] | deque[_Waiting], waiting: _Waiting) -> Future[object]:
        if self._closing:
            raise _closing()
        if len(self._prompts) + len(self._jobs) >= self._max_waiting:
            raise QueueFull(
                f"{self._max_waiting} requests wait for the model", expected="fewer", fix="try again in a second"
            )
        queue.append(waiting)
        self._note_request()
        return waiting.future

    def _note_request(self) -> None:
        self._asked = time.monotonic()
        self._wake.notify()

    def _next_prompt(self) -> _Waiting | None:
        with self._wake:
            if not self._prompts:
                return None
            oldest = self._prompts[0]  # of the case that waits longest
            own = [waiting for waiting in self._prompts if waiting.case == oldest.case]
            chosen = oldest if oldest.passed >= MOST_PASSED else own[-1]
            for waiting in own:
                waiting.passed += 1
            self._prompts.remove(chosen)
            return chosen

    def _loop(self) -> None:
        while (run := self._next()) is not None:
            run()

    def _next(self) -> Callable[[], None] | None:
        """What a thread does now; waits for it, and gives None at the end."""
        with self._wake:
            while not self._closing:
                if (waiting := self._next_prompt() or self._next_job()) is not None:
                    self._running += 1
                    return partial(self._answer, waiting)
                if self._looked:
                    return partial(_try, self._looked.popitem(last=False)[1])
                left = self._asked + self._ahead_seconds - time.monotonic()
                if self._ahead and left <= 0:
                    return partial(_try, self._ahead.popleft())
                self._wake.wait(left if self._ahead else None)
        return None

    def _next_job(self) -> _Waiting | None:
        return self._jobs.popleft() if self._jobs else None

    def _answer(self, waiting: _Waiting) -> None:
        try:
            _finish(waiting)
        finally:
            with self._wake:
                self._running -= 1
                self._asked = time.monotonic()


def _try(run: Callable[[], object]) -> None:
    """Do what nobody waits for."""
    future: Future[object] = Future()
    _finish(_Waiting("", None, run, future))
    if (error := future.exception()) is not None:
        log.warning("work ahead failed: %s", type(error).__name__)


def _finish(waiting: _Waiting) -> None:
    if not waiting.future.set_running_or_notify_cancel():
        return
    try:
        result = waiting.run()
    except BaseException as error:  # handed to whoever waits for it, without the masks that its frames hold
        clear_frames(error)
        waiting.future.set_exception(error)
        if not isinstance(error, Exception):
            raise
        return
    waiting.future.set_result(result)


def _closing() -> Closing:
    return Closing("a server that is ending", expected="one that runs", fix="try again in a few seconds")
