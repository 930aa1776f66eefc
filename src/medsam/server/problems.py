"""Errors as problem details: what came, what was expected, what to do, and the status that fits."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from medsam.errors import (
    ConflictError,
    DataError,
    InputFileError,
    MedsamError,
    MissingDependencyError,
    OutputError,
    RemoteError,
)
from medsam.server.worker import Closing, QueueFull, Superseded

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = {429: {"Retry-After": "1"}, 503: {"Retry-After": "10"}}
log = logging.getLogger("medsam.server")


class NotFound(MedsamError):
    """There is nothing under this id."""


class Stale(MedsamError):
    """A write names no version of the case that it was made from."""


class BodyTooLarge(MedsamError):
    """A body grew beyond what a request may send."""


class LeaseGone(MedsamError):
    """A session that ended, or that never was."""


class AtCapacity(MedsamError):
    """All sessions that the server holds are taken."""


class Conflict(ConflictError):
    """A save that came too late, with both sides of it.

    Args:
        error: What the project said.
        yours: What the request was made from.
        theirs: What the case stands at.
    """

    def __init__(self, error: ConflictError, *, yours: object, theirs: object) -> None:
        super().__init__(error.got, expected=error.expected, fix=error.fix)
        self.sides = {"yours": yours, "theirs": theirs}


def problem(
    status: int, error: MedsamError, *, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:  # fmt: skip
    """The answer to a request that went wrong."""
    body = {"error": type(error).__name__, "got": error.got, "expected": error.expected, "fix": error.fix, **more}
    body["detail"] = str(error)  # where viewers look for words
    return JSONResponse(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def status_of(error: MedsamError) -> int:
    """The HTTP status of an error of the package."""
    if isinstance(error, OutputError) and "full" in error.got:
        return 507
    if isinstance(error, DataError) and error.got.startswith("a case that is not"):
        return 404
    kinds: tuple[tuple[type[MedsamError], int], ...] = (
        (ConflictError, 409), (Superseded, 409), (QueueFull, 429), (Closing, 503), (NotFound, 404), (Stale, 428),
        (InputFileError, 400), (MissingDependencyError, 501), (RemoteError, 502), (LeaseGone, 410), (AtCapacity, 503),
        (BodyTooLarge, 413),
    )  # fmt: skip
    return next((status for kind, status in kinds if isinstance(error, kind)), 422)


def install_problems(app: FastAPI) -> None:
    """Answer every error of the package, of a request's form and of the disk with problem details."""

    @app.exception_handler(MedsamError)
    def ours(request: Request, error: MedsamError) -> JSONResponse:
        del request
        status = status_of(error)
        sides = error.sides if isinstance(error, Conflict) else {}
        return problem(status, error, headers=RETRY_AFTER.get(status), **sides)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        del request
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(
            422, MedsamError(f"{where} is wrong", expected=str(first["msg"]), fix="see the OpenAPI document")
        )

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        del request
        told = MedsamError(str(error.detail), expected="a request that the API knows", fix="see the OpenAPI document")
        return problem(error.status_code, told, headers=error.headers)

    @app.exception_handler(OSError)
    def disk(request: Request, error: OSError) -> JSONResponse:
        del request
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return problem(507, OutputError("the disk is full", expected="room for it", fix="free some, try again"))
        return unexpected(error)

    @app.exception_handler(Exception)
    def fault(request: Request, error: Exception) -> JSONResponse:
        del request
        return unexpected(error)


def unexpected(error: Exception) -> JSONResponse:
    """Answer a fault of the server's own; its text, which may quote a file, is neither told nor logged."""
    log.error("fault: %s", type(error).__name__)
    told = MedsamError(
        f"the server failed ({type(error).__name__})", expected="an answer", fix="report it with the request id"
    )
    return problem(500, told)
