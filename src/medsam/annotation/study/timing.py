"""How long an annotator worked: from the moments at which something happened, not from a clock that somebody starts.

An event ends what led to it: the seconds since the annotator's event before belong to its phase. Where more than
IDLE_SECONDS passed, they are idle and do not count; more than AWAY_SECONDS is another sitting and is not even idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

Phase = Literal["marking", "model", "refining", "review"]
PHASES: tuple[Phase, ...] = ("marking", "model", "refining", "review")
IDLE_SECONDS = 60.0
AWAY_SECONDS = 3600.0


@dataclass(frozen=True)
class Activity:
    """Something that an annotator did, or waited for.

    Args:
        case: Number of the case.
        annotator: Who.
        phase: What it was part of.
        at: When it ended, seconds since 1970.
        seconds: How long it took by itself, as the wait for the model; 0 for a moment. It is never idle.
    """

    case: int
    annotator: str
    phase: Phase
    at: float
    seconds: float = 0.0


@dataclass(frozen=True)
class CaseTime:
    """The time of one annotator in one case.

    Args:
        case: Number of the case.
        annotator: Who.
        with_model: Whether the model was asked.
        seconds: Of each phase.
        idle: Seconds without an event, which no phase counts.
    """

    case: int
    annotator: str
    with_model: bool
    seconds: Mapping[Phase, float]
    idle: float

    @property
    def total(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())


def measure_times(activities: Sequence[Activity]) -> list[CaseTime]:
    """Sum up what happened; an annotator who goes from one case to another spends no second twice.

    Args:
        activities: In any order.

    Returns:
        A row for each annotator and case, by case, then annotator.
    """
    seconds: dict[tuple[int, str], dict[Phase, float]] = {}
    idle: dict[tuple[int, str], float] = {}
    for annotator, grouped in groupby(sorted(activities, key=lambda a: (a.annotator, a.at)), key=lambda a: a.annotator):
        own = list(grouped)
        for one in own:
            seconds.setdefault((one.case, annotator), dict.fromkeys(PHASES, 0.0))
        waits = sorted((a for a in own if a.seconds > 0), key=lambda a: a.at - a.seconds)
        now: float | None = None
        for one in own:
            key, start = (one.case, annotator), one.at - one.seconds
            now = start if now is None else now
            gap = max(0.0, start - now)
            if gap > IDLE_SECONDS:
                for wait in waits:  # a pause in which the model worked is a wait for it
                    waited = min(start, wait.at) - max(now, wait.at - wait.seconds)
                    if waited > 0:
                        seconds[wait.case, annotator][wait.phase] += waited
                        gap -= waited
                        now = min(start, wait.at)
            if gap > IDLE_SECONDS and gap <= AWAY_SECONDS:
                idle[key] = idle.get(key, 0.0) + gap
            seconds[key][one.phase] += max(0.0, one.at - max(start, now)) + (gap if gap <= IDLE_SECONDS else 0.0)
            now = max(now, one.at)
    asked = {(one.case, one.annotator) for one in activities if one.phase == "model"}
    return [CaseTime(*key, key in asked, phases, idle.get(key, 0.0)) for key, phases in sorted(seconds.items())]
