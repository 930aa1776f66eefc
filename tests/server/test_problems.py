"""Errors of the package as statuses, and faults of the server without their text."""

from __future__ import annotations

import json

import pytest

from medsam.errors import ConflictError, DataError, InputFileError, MedsamError, OutputError, PromptError
from medsam.server.problems import AtCapacity, BodyTooLarge, LeaseGone, NotFound, Stale, problem, status_of, unexpected
from medsam.server.worker import QueueFull


@pytest.mark.parametrize(
    ("kind", "got", "status"),
    [
        (OutputError, "the disk of the project is full", 507), (DataError, "a case that is not in the project", 404),
        (ConflictError, "version 1", 409), (QueueFull, "the queue", 429), (NotFound, "slice 9", 404), (Stale, "no version", 428),
        (InputFileError, "a file", 400), (PromptError, "a box", 422), (LeaseGone, "a session", 410), (AtCapacity, "8 sessions", 503),
        (BodyTooLarge, "an array", 413),
    ],
)  # fmt: skip
def test_an_error_has_the_status_that_fits(kind: type[MedsamError], got: str, status: int) -> None:
    error = kind(got, expected="another", fix="try again")
    assert status_of(error) == status
    body = json.loads(problem(status, error, more=1).body)
    assert body == {
        "error": kind.__name__,
        "got": got,
        "expected": "another",
        "fix": "try again",
        "more": 1,
        "detail": str(error),
    }


def test_a_fault_tells_its_kind_and_not_its_text() -> None:
    answer = unexpected(ValueError("DOE^JOHN"))
    assert answer.status_code == 500
    assert b"ValueError" in answer.body and b"DOE" not in answer.body
