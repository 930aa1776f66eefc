"""Time from events: idle does not count, no second counts twice, the model's answer is never idle."""

from __future__ import annotations

import pytest

from medsam.annotation.study.timing import Activity, CaseTime, measure_times


def one(*activities: Activity) -> CaseTime:
    [found] = measure_times(activities)
    return found


def test_the_time_before_an_event_belongs_to_its_phase() -> None:
    found = one(
        Activity(1, "ana", "marking", 100), Activity(1, "ana", "marking", 130), Activity(1, "ana", "model", 140),
        Activity(1, "ana", "refining", 200), Activity(1, "ana", "review", 205),
    )  # fmt: skip
    assert found.seconds == {"marking": 30, "model": 10, "refining": 60, "review": 5}
    assert (found.total, found.idle, found.with_model) == (105, 0, True)


def test_a_pause_is_idle_and_an_evening_is_not() -> None:
    found = one(
        Activity(1, "ana", "refining", 0), Activity(1, "ana", "refining", 60), Activity(1, "ana", "refining", 121),
        Activity(1, "ana", "refining", 131), Activity(1, "ana", "refining", 131 + 3601), Activity(1, "ana", "review", 3740),
    )  # fmt: skip
    assert (found.seconds["refining"], found.seconds["review"], found.idle) == (70, 8, 61)
    assert not found.with_model


def test_a_long_answer_of_the_model_counts_whole_and_overlaps_count_once() -> None:
    found = one(
        Activity(1, "ana", "marking", 10), Activity(1, "ana", "refining", 60), Activity(1, "ana", "model", 210, 200),
        Activity(1, "ana", "refining", 200),
    )  # fmt: skip
    # marking ends at 10; the job runs from 10 to 210; what was drawn meanwhile takes its share of the same 200 s
    assert found.seconds == {"marking": 0, "model": 150, "refining": 50, "review": 0}
    assert (found.idle, found.total) == (0, 200)
    alone = one(Activity(1, "ana", "marking", 10), Activity(1, "ana", "model", 210, 200))
    assert alone.seconds["model"] == 200 and alone.idle == 0


def test_an_annotator_in_two_cases_spends_no_second_twice() -> None:
    first, second = measure_times(
        [Activity(2, "ana", "marking", 20), Activity(1, "ana", "marking", 0), Activity(1, "ana", "marking", 50)]
    )
    assert (first.case, first.total, second.case, second.total) == (1, 30, 2, 20)
    both = measure_times([Activity(1, "ana", "marking", 0), Activity(1, "bob", "marking", 20)])
    assert [one.annotator for one in both] == ["ana", "bob"] and [one.total for one in both] == [0, 0]
    assert measure_times([]) == []


def test_a_wait_at_the_start_counts() -> None:
    assert one(Activity(1, "ana", "model", 100, 7.5)).total == pytest.approx(7.5)
