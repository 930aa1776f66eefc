"""Routes of /api/v1 that ask the model: prompts on a slice, and jobs that make whole objects."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Annotated, Literal, cast

import numpy as np
from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from medsam.annotation.markers import Marker
from medsam.annotation.study.label_runs import LabelRuns
from medsam.annotation.study.project import ProjectCase
from medsam.errors import MedsamError, PromptError
from medsam.imaging.prompts import Prompt
from medsam.server.annotating import (
    event_of,
    locked_objects,
    mask_of,
    refuse_locked,
    save_state,
    segment_neighbours,
    segment_objects,
    segment_slice,
)
from medsam.server.drawn import Guard, by_axis
from medsam.server.embeddings import embed_ahead
from medsam.server.problems import NotFound, Stale
from medsam.server.schemas import HeadView, JobIn, JobView, Problem, PromptIn, PromptOut, SliceMask
from medsam.server.scores import replace_scores, scores_of
from medsam.server.state import (
    Annotator,
    Case,
    RequiredVersion,
    SeenVersion,
    Server,
    ServerState,
    conflicts_shown,
    head_view,
    note_answer,
)
from medsam.server.worker import Cancelled

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["model"])
log = logging.getLogger("medsam.server")
MAX_JOBS = 100  # finished ones are forgotten from the oldest on
POLL_SECONDS = 0.1


@dataclass(eq=False)
class _Job:
    case: str
    annotator: str
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    asked_at: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    head: HeadView | None = None
    problem: Problem | None = None
    reached: tuple[int, int] | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def view(self) -> JobView:
        return JobView(
            id=self.id, state=self.state, done=self.done, total=self.total, head=self.head, problem=self.problem,
            reached=self.reached,
        )  # fmt: skip

    def settle(self, future: Future[object]) -> None:
        """Take the end of a job that never began, or in which the server failed: whoever waits must be told."""
        if self.state not in ("waiting", "running"):
            return
        error = future.exception()
        if isinstance(error, MedsamError):
            self.problem = Problem(error=type(error).__name__, got=error.got, expected=error.expected, fix=error.fix)
        else:
            log.error("fault: %s", type(error).__name__)
            self.problem = Problem(error="Fault", got="the server failed", expected="an answer", fix="report it")
        self.state = "failed"


class Jobs:
    """The jobs of a server, the newest of them; threads may share it."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job: _Job) -> None:
        """Remember a job and forget the oldest finished ones."""
        with self._lock:
            self._jobs[job.id] = job
            for old in [j for j in self._jobs.values() if j.state not in ("waiting", "running")][:-MAX_JOBS]:
                del self._jobs[old.id]

    def stop(self) -> None:
        """Cancel all that are not finished."""
        with self._lock:
            for job in self._jobs.values():
                job.stop.set()

    def find(self, job_id: str, case: str, annotator: str) -> _Job:
        """A job of one's own.

        Raises:
            NotFound: there is none.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or (job.case, job.annotator) != (case, annotator):
            raise NotFound("a job that is not there", expected="the id of a job", fix="start it again")
        return job


@router.post("/prompts")
async def prompt_slice(
    *, case: Case, server: Server, me: Annotator, seen: SeenVersion, asked: PromptIn, response: Response,
    background: BackgroundTasks,
) -> PromptOut:  # fmt: skip
    """Segment one object on one slice; a newer prompt for the same object and slice takes an older one's place."""
    if asked.save and seen is None:
        raise Stale("a prompt to be saved without If-Match", expected='If-Match: "vN"', fix="send the ETag of the head")
    key, asked_at = (me, asked.plane, asked.slice, asked.label, asked.save), time.monotonic()
    future = server.worker.prompt(case.id, key, lambda: _answer(server, case, me, asked, seen))
    answer = cast(PromptOut, await asyncio.wrap_future(future))
    background.add_task(note_answer, server, case.id, me, asked_at)
    if answer.head is not None:
        response.headers["ETag"] = f'"v{answer.head.version}"'
    return answer


def _answer(server: ServerState, case: ProjectCase, me: str, asked: PromptIn, seen: int | None) -> PromptOut:
    scan = server.scans.open(case)
    axis = scan.axis(asked.plane)
    prompt = Prompt(asked.label, asked.slice, asked.box, tuple(asked.points), tuple(asked.point_labels))
    stood = server.project.head(case.id, me).revision
    before, locked = mask_of(server, case, stood)
    fixed = locked_objects(server, case, asked.kept)
    if asked.save:
        refuse_locked([asked.label], fixed)
    if asked.slice >= before.shape[axis]:
        raise PromptError(
            f"slice is {asked.slice}", expected=f"0 to {before.shape[axis] - 1}", fix="choose one of them"
        )
    before_HW = before.plane(axis, asked.slice)
    found = segment_slice(server, scan, axis, prompt, before_HW)
    after_HW, head = found.mask.labels[0], None
    if asked.save and seen is not None:
        guard = Guard(case.shape, locked, fixed)
        guard = guard.release(asked.label, axis, asked.slice, before_HW, after_HW) if asked.release else guard
        kept_HW = guard.over_plane(axis, asked.slice, before_HW, after_HW)
        given = {asked.label: {asked.slice: found.scores[0]}}
        with conflicts_shown(server, case.id, me, seen):
            moved = save_state(
                server, case, me, before.with_plane(axis, asked.slice, kept_HW), seen=seen, kind="prompt",
                event=event_of(prompt, asked.plane, found.seconds, asked.axes), locked=guard.drawn,
                scores=replace_scores(scores_of(server, stood), given, axis),
            )  # fmt: skip
        head = head_view(server, case.id, me, moved)
    embed_ahead(server, scan.image.move_axis(axis), asked.slice)
    return PromptOut(
        mask=_slice_mask(after_HW == asked.label), score=found.scores[0], seconds=dict(found.seconds), head=head
    )


def _slice_mask(mask_HW: NDArray[np.bool_]) -> SliceMask:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask_HW.reshape(-1), [False]])))
    starts, ends = edges[::2], edges[1::2]
    runs = np.stack([starts, ends - starts], axis=1).reshape(-1).tolist()
    return SliceMask(height=mask_HW.shape[0], width=mask_HW.shape[1], runs=runs)


@router.post("/jobs", status_code=202)
def start_job(
    *, request: Request, case: Case, server: Server, me: Annotator, seen: RequiredVersion, asked: JobIn
) -> JobView:
    """Make whole objects from prompts, markers or a corrected slice, and save them; its events say how far it is."""
    if sum(map(bool, (asked.prompts, asked.markers, asked.neighbours))) != 1:
        raise PromptError(
            "not one of prompts, markers and neighbours", expected="one of them", fix="send one of the three"
        )
    work: list[Prompt] | list[Marker]
    if asked.markers:
        work = [Marker(m.label, m.slice, tuple(m.points)) for m in asked.markers]
    else:
        work = [
            Prompt(p.label, p.slice, p.box, tuple(p.points), tuple(p.point_labels), p.box_3d) for p in asked.prompts
        ]
    job = _Job(case.id, me)
    future = server.worker.job(case.id, lambda: _run(server, case, job, asked, work, seen=seen))
    future.add_done_callback(job.settle)
    cast(Jobs, request.app.state.jobs).add(job)
    return job.view()


def _run(
    server: ServerState, case: ProjectCase, job: _Job, asked: JobIn, work: list[Prompt] | list[Marker], *, seen: int
) -> None:  # fmt: skip
    def progress(done: int, total: int | None) -> None:
        job.done, job.total = done, total or 0
        if job.stop.is_set():
            raise Cancelled("a job that was cancelled", expected="a job that goes on", fix="start it again")
        server.worker.give_way()

    job.state = "running"
    try:
        progress(0, 0)
        scan = server.scans.open(case)
        stood = server.project.head(case.id, job.annotator).revision
        before, locked = mask_of(server, case, stood)
        previous = before.unfold()
        axis = scan.axis(asked.plane)
        if asked.neighbours is not None:
            drawn = by_axis(case.shape, locked).get(asked.neighbours.label, {}).get(axis, [])
            found = segment_neighbours(
                server, scan, axis, asked.neighbours, previous=previous, stay={*drawn, *asked.neighbours.stay},
                progress=progress,
            )  # fmt: skip
        else:
            found = segment_objects(server, scan, axis, work, asked, previous=previous, progress=progress)
        named = {one.label for one in work}
        locked = {n: own for n, own in locked.items() if not (asked.release and n in named)}
        fixed = locked_objects(server, case, asked.kept)
        after = Guard(case.shape, locked, fixed).over(before, LabelRuns.of(found.labels, like=before))
        event = {**asked.model_dump(exclude_defaults=True), "seconds": dict(found.seconds)}
        scores = replace_scores(scores_of(server, stood), found.scores, axis, whole=found.whole)
        with conflicts_shown(server, case.id, job.annotator, seen):
            head = save_state(
                server, case, job.annotator, after, seen=seen, kind="model", event=event, locked=locked, scores=scores,
            )  # fmt: skip
        note_answer(server, case.id, job.annotator, job.asked_at)
        if asked.neighbours is not None:
            own = {asked.neighbours.slice, *found.scores[asked.neighbours.label]}
            job.reached = min(own), max(own)
        job.head = head_view(server, case.id, job.annotator, head)
        job.state = "done"
    except Cancelled:
        job.state = "cancelled"


def _job_of(
    request: Request, job_id: Annotated[str, InPath(pattern="^[0-9a-f]{32}$")], case: Case, me: Annotator
) -> _Job:
    return cast(Jobs, request.app.state.jobs).find(job_id, case.id, me)


@router.get("/jobs/{job_id}")
def read_job(
    *, request: Request, job_id: Annotated[str, InPath(pattern="^[0-9a-f]{32}$")], case: Case, me: Annotator
) -> JobView:
    """How a job stands."""
    return _job_of(request, job_id, case, me).view()


@router.delete("/jobs/{job_id}")
def cancel_job(
    *, request: Request, job_id: Annotated[str, InPath(pattern="^[0-9a-f]{32}$")], case: Case, me: Annotator
) -> JobView:
    """Cancel a job; nothing of it is saved."""
    job = _job_of(request, job_id, case, me)
    job.stop.set()
    return job.view()


@router.get(
    "/jobs/{job_id}/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}}
)
def job_events(
    *, request: Request, job_id: Annotated[str, InPath(pattern="^[0-9a-f]{32}$")], case: Case, me: Annotator
) -> StreamingResponse:  # fmt: skip
    """Server-sent events with the job whenever it moves, until it has ended."""
    job = _job_of(request, job_id, case, me)

    async def events() -> AsyncIterator[str]:
        last = None
        while True:
            view = job.view()
            if view != last:
                last = view
                yield f"event: {view.state}\ndata: {view.model_dump_json()}\n\n"
            if view.state not in ("waiting", "running"):
                return
            await asyncio.sleep(POLL_SECONDS)

    return StreamingResponse(events(), media_type="text/event-stream")
