"""Routes of /api/v1 about the study: what annotators did and how long it took, how far they agree, their consensus."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from medsam.annotation.study.agreement import CONSENSUS, Agreement
from medsam.annotation.study.timing import IDLE_SECONDS, CaseTime, Phase, measure_times
from medsam.evaluation.metrics import TOLERANCE_MM
from medsam.jobs.project_agreement import agree_on_case, save_consensus
from medsam.server.schemas import HeadView
from medsam.server.state import Annotator, CallerRole, Case, Server, head_view

router = APIRouter(prefix="/api/v1", tags=["study"])
STRICT = ConfigDict(extra="forbid")


class ActivityEvent(BaseModel):
    """That something happened: a click, a stroke, a look at another slice."""

    model_config = STRICT

    phase: Phase
    ago: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = Field(0.0, description="seconds before now")


class ActivityIn(BaseModel):
    """What one did since the last time; one event in a few seconds is enough."""

    model_config = STRICT

    events: list[ActivityEvent] = Field(min_length=1, max_length=1000)


class ActivityOut(BaseModel):
    """How much was recorded."""

    recorded: int


class CaseTimeView(BaseModel):
    """Seconds of an annotator in a case, by phase."""

    case: int = Field(description="its number")
    annotator: str
    with_model: bool
    marking: float
    model: float
    refining: float
    review: float
    total: float = Field(description="of the phases")
    idle: float = Field(description="without an event; in no phase")


class ReportView(BaseModel):
    """The time a study took."""

    idle_seconds: float = Field(description="a longer pause is idle")
    times: list[CaseTimeView]


class ConsensusIn(BaseModel):
    """Of whose masks."""

    model_config = STRICT

    annotators: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(None, max_length=100)


@router.post("/cases/{case_id}/activity")
def record_activity(*, case: Case, server: Server, me: Annotator, sent: ActivityIn) -> ActivityOut:
    """Record what one did since the last time; pauses of more than a minute between events are idle time."""
    now = time.time()
    server.project.record(case.id, me, [(one.phase, now - one.ago, 0.0) for one in sent.events])
    return ActivityOut(recorded=len(sent.events))


@router.get("/report")
def study_report(*, server: Server, me: Annotator, role: CallerRole) -> ReportView:
    """Seconds by case, annotator and phase; of everybody for who administers the server, else one's own."""
    times = measure_times(server.project.activities())
    return ReportView(
        idle_seconds=IDLE_SECONDS, times=[_view(one) for one in times if role == "admin" or one.annotator == me]
    )


def _view(one: CaseTime) -> CaseTimeView:
    return CaseTimeView(
        case=one.case, annotator=one.annotator, with_model=one.with_model, idle=round(one.idle, 3),
        total=round(one.total, 3), **{phase: round(seconds, 3) for phase, seconds in one.seconds.items()},
    )  # fmt: skip


@router.get("/cases/{case_id}/agreement")
def agreement(
    *, case: Case, server: Server, tolerance_mm: Annotated[float, Query(gt=0, le=1000)] = TOLERANCE_MM
) -> list[Agreement]:
    """Dice, surface distance and volume difference of every two annotators and object."""
    return agree_on_case(server.project, case, server.scans.open(case).stored, tolerance_mm=tolerance_mm)


@router.post("/cases/{case_id}/consensus")
def consensus(*, case: Case, server: Server, sent: ConsensusIn) -> HeadView:
    """Make the consensus (STAPLE) and save it as the state of "consensus", which every route shows by `?annotator=`."""
    image = server.scans.open(case).stored
    head = save_consensus(server.project, case, image, annotators=sent.annotators)
    return head_view(server, case.id, CONSENSUS, head)
