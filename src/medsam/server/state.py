"""What all requests of one server share, and how a request finds it."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, cast

from fastapi import Depends, Header, Request
from fastapi import Path as InPath

from medsam.annotation.study.heads import Head
from medsam.annotation.study.project import Project, ProjectCase
from medsam.annotation.study.timing import Phase
from medsam.errors import ConflictError, DataError, MedsamError
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.io.confined import check_confined
from medsam.server.drawn import by_axis
from medsam.server.presence import Presence
from medsam.server.problems import Conflict, Stale
from medsam.server.scans import OpenScans
from medsam.server.schemas import HeadView
from medsam.server.settings import ServerSettings
from medsam.server.tokens import Role
from medsam.server.worker import ModelWorker

log = logging.getLogger("medsam.server")
READS_AT_ONCE = 2
CASE_ID = "^[0-9a-f]{32}$"


@dataclass(frozen=True, eq=False)
class ServerState:
    """The parts of a running server; what is sent lies in `passing` until it is of the project."""

    project: Project
    predictor: Predictor
    settings: ServerSettings
    worker: ModelWorker
    scans: OpenScans
    cache: EmbeddingCache
    presence: Presence
    passing: Path
    reads: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(READS_AT_ONCE))

    def check_upload(self, path: Path, *, mask: bool = False) -> None:
        """Have a file that was sent read by a process of its own first; few of them at a time, as each may take much memory.

        Raises:
            MedsamError: as check_confined.
        """
        limits = self.settings
        with self.reads:
            check_confined(path, mask=mask, memory_bytes=limits.read_memory_bytes, seconds=limits.read_seconds)


def _server_of(request: Request) -> ServerState:
    return cast(ServerState, request.app.state.server)


def _annotator_of(request: Request) -> str:
    return str(request.state.annotator)


def _role_of(request: Request) -> Role:
    return cast(Role, request.state.role)


CallerRole = Annotated[Role, Depends(_role_of)]
Server = Annotated[ServerState, Depends(_server_of)]
Annotator = Annotated[str, Depends(_annotator_of)]


def _case_of(
    case_id: Annotated[str, InPath(pattern=CASE_ID)], server: Server, me: Annotator, request: Request
) -> ProjectCase:  # fmt: skip
    case = server.project.case(case_id)
    if request.method != "GET":  # the list of cases looks into each case too
        server.presence.note(case.id, me, acts=not request.url.path.endswith("/presence"))
    return case


def _seen_of(if_match: Annotated[str | None, Header()] = None) -> int | None:
    if if_match is None:
        return None
    found = re.fullmatch(r'"v(\d{1,9})"', if_match.strip())
    if found is None:
        raise DataError("an If-Match that is no version", expected='"vN"', fix="send the ETag of the head")
    return int(found[1])


def _required(seen: Annotated[int | None, Depends(_seen_of)]) -> int:
    if seen is None:
        raise Stale("a write without If-Match", expected='If-Match: "vN"', fix="send the ETag of the head")
    return seen


Case = Annotated[ProjectCase, Depends(_case_of)]
SeenVersion = Annotated[int | None, Depends(_seen_of)]
RequiredVersion = Annotated[int, Depends(_required)]


def head_view(server: ServerState, case_id: str, annotator: str, head: Head | None = None) -> HeadView:
    """Where an annotator stands, with what made that state."""
    head = head or server.project.head(case_id, annotator)
    if head.revision is None:
        return HeadView(annotator=annotator, version=head.version, revision=None)
    state = server.scans.state(head.revision)
    drawn = by_axis(state.runs.shape, state.locked)
    return HeadView(
        annotator=annotator, version=head.version, revision=head.revision, kind=state.kind, at=state.at, drawn=drawn,
        locked={label: axes[0] for label, axes in drawn.items() if 0 in axes},
    )  # fmt: skip


def note_work(server: ServerState, case_id: str, annotator: str, phase: Phase) -> None:
    """Keep that somebody did something just now, for the times of the study."""
    _note(server, case_id, annotator, [(phase, time.time(), 0.0)])


def note_answer(server: ServerState, case_id: str, annotator: str, asked_at: float) -> None:
    """Keep when the model was asked, by time.monotonic, which nobody sets back, and that it has answered now."""
    now, waited = time.time(), time.monotonic() - asked_at
    _note(server, case_id, annotator, [("marking", now - waited, 0.0), ("model", now, waited)])


def _note(server: ServerState, case_id: str, annotator: str, moments: list[tuple[Phase, float, float]]) -> None:
    server.presence.note(case_id, annotator, acts=True)
    try:
        server.project.record(case_id, annotator, moments)
    except MedsamError as error:  # a full disk stops no work over it
        log.warning("times are not recorded: %s", type(error).__name__)


@contextmanager
def conflicts_shown(server: ServerState, case_id: str, annotator: str, seen: int) -> Iterator[None]:
    """Turn a conflict into an answer that shows both sides.

    Raises:
        Conflict: another save came between.
    """
    try:
        yield
    except ConflictError as error:
        theirs = head_view(server, case_id, annotator)
        raise Conflict(error, yours={"version": seen}, theirs=theirs.model_dump()) from None
