"""The order in which the model works."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from medsam.server.worker import MOST_PASSED, Closing, ModelWorker, QueueFull, Superseded


@pytest.fixture
def worker():
    one = ModelWorker(max_waiting=4, ahead_seconds=0)
    yield one
    one.close()


def held(worker: ModelWorker) -> threading.Event:
    """Keep the model busy until the event is set."""
    go, begun = threading.Event(), threading.Event()
    worker.job("held", lambda: (begun.set(), go.wait(10)))
    assert begun.wait(10)
    return go


def test_the_newest_prompt_of_the_case_that_waits_longest_comes_first(worker: ModelWorker) -> None:
    go, order = held(worker), []
    futures = [worker.prompt(case, (n,), lambda n=n: order.append(n)) for case, n in (("a", 1), ("b", 2), ("a", 3))]
    go.set()
    for future in futures:
        future.result(10)
    assert order[0] == 3 and set(order) == {1, 2, 3}


def test_newer_prompts_that_keep_coming_pass_an_older_one_a_few_times_and_no_more(worker: ModelWorker) -> None:
    go, order = held(worker), []

    def answer(n: int) -> None:
        order.append(n)
        if 0 < n < 20:  # somebody who asks again as soon as there is an answer
            futures.append(worker.prompt("a", (n + 1,), lambda: answer(n + 1)))

    futures = [worker.prompt("a", (0,), lambda: answer(0)), worker.prompt("a", (1,), lambda: answer(1))]
    go.set()
    futures[0].result(10)
    assert order[: order.index(0)] == list(range(1, MOST_PASSED + 1))
    while len(order) < 21:
        futures[-1].result(10)


def test_an_error_that_is_kept_holds_nothing_of_what_was_worked_on(worker: ModelWorker) -> None:
    class Mask:
        pass

    def fail() -> None:
        mask = Mask()
        seen.append(weakref.ref(mask))
        try:
            raise KeyError
        except KeyError:
            raise ValueError from None

    seen: list[weakref.ref[Mask]] = []
    gc.disable()
    try:
        future = worker.prompt("a", (1,), fail)
        assert isinstance(future.exception(10), ValueError) and seen[0]() is None
    finally:
        gc.enable()


def test_a_newer_prompt_takes_the_place_of_an_older_one(worker: ModelWorker) -> None:
    go = held(worker)
    old, new = worker.prompt("a", (1, 2), lambda: "old"), worker.prompt("a", (1, 2), lambda: "new")
    go.set()
    assert new.result(10) == "new"
    with pytest.raises(Superseded):
        old.result(10)


def test_too_many_are_refused_and_errors_go_to_who_asked(worker: ModelWorker) -> None:
    go = held(worker)
    futures = [worker.prompt("a", (n,), lambda: 1 / 0) for n in range(4)]
    with pytest.raises(QueueFull):
        worker.prompt("a", (9,), lambda: 1)
    assert worker.waiting == 4
    go.set()
    for future in futures:
        with pytest.raises(ZeroDivisionError):
            future.result(10)


def test_a_long_job_lets_prompts_pass_and_idle_time_is_used(worker: ModelWorker) -> None:
    order, go, idle = [], threading.Event(), threading.Event()

    def long_job() -> None:
        go.wait(10)
        worker.give_way()
        order.append("job")

    job = worker.job("a", long_job)
    prompt = worker.prompt("b", (1,), lambda: order.append("prompt"))
    worker.ahead([lambda: order.append("ahead"), idle.set])
    go.set()
    job.result(10)
    prompt.result(10)
    assert idle.wait(10)
    assert order == ["prompt", "job", "ahead"]


def test_a_prompt_waits_for_one_slice_ahead_and_not_for_the_next(worker: ModelWorker) -> None:
    order, go, begun, last = [], threading.Event(), threading.Event(), threading.Event()
    worker.ahead(
        [lambda: (begun.set(), go.wait(10), order.append("first")), lambda: (order.append("second"), last.set())]
    )
    assert begun.wait(10)
    prompt = worker.prompt("a", (1,), lambda: order.append("prompt"))
    go.set()
    prompt.result(10)
    assert last.wait(10)
    assert order == ["first", "prompt", "second"]


def test_work_ahead_waits_until_nobody_asks_for_a_while() -> None:
    patient, ran = ModelWorker(max_waiting=4, ahead_seconds=3600), threading.Event()
    patient.ahead([ran.set])
    assert [patient.prompt("a", (n,), lambda n=n: n).result(10) for n in range(3)] == [0, 1, 2]
    patient.look("a", lambda: 1)
    assert patient.job("a", lambda: "done").result(10) == "done"
    patient.close()
    assert not ran.is_set()


def test_what_is_looked_at_comes_after_prompts_and_jobs_and_only_the_newest_of_each(worker: ModelWorker) -> None:
    go, order, seen = held(worker), [], threading.Event()
    worker.look(("a", "ana"), lambda: order.append("old"))
    worker.look(("b", "bob"), lambda: order.append("bob"))
    worker.look(("a", "ana"), lambda: (order.append("new"), seen.set()))
    worker.job("a", lambda: order.append("job"))
    worker.prompt("a", (1,), lambda: order.append("prompt"))
    go.set()
    assert seen.wait(10)
    assert order == ["prompt", "job", "bob", "new"]


def test_two_threads_answer_two_prompts_at_once() -> None:
    pair, meet = ModelWorker(max_waiting=4, threads=2, ahead_seconds=0), threading.Barrier(2)
    both = [pair.prompt("a", (n,), lambda: meet.wait(10)) for n in range(2)]
    assert sorted(one.result(10) for one in both) == [0, 1]
    pair.close()


def test_closing_finishes_what_runs_and_refuses_the_rest() -> None:
    worker = ModelWorker(max_waiting=4, ahead_seconds=0)
    go = held(worker)
    waits = worker.prompt("a", (1,), lambda: 1)
    threading.Timer(0.1, go.set).start()
    worker.close()
    with pytest.raises(Closing, match="ending"):
        waits.result(10)
    with pytest.raises(Closing, match="ending"):
        worker.prompt("a", (1,), lambda: 1)
