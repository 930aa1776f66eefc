"""Errors of the server as ours, patience, and what is no server."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

from medsam.client.connection import Connection, read_row, read_rows
from medsam.errors import ConflictError, DataError, InputFileError, PromptError, RemoteError


def connection(answer: httpx.Response | list[httpx.Response], asked: list[httpx.Request] | None = None) -> Connection:
    """To a server with these answers."""
    answers = [answer] if isinstance(answer, httpx.Response) else answer

    def give(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        return answers.pop(0)

    http = httpx.Client(transport=httpx.MockTransport(give))
    return Connection("http://127.0.0.1:8000/?token=secret-of-ana", http=http)


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [(422, "PromptError", PromptError), (409, "Conflict", ConflictError), (404, "NotFound", DataError),
     (500, "MedsamErrors", RemoteError), (401, "Refusal", RemoteError), (502, "RemoteError", RemoteError)],
)  # fmt: skip
def test_an_error_comes_whole_and_as_the_one_it_is(status: int, name: str, kind: type[Exception]) -> None:
    told = {"error": name, "got": "a box", "expected": "another", "fix": "draw it"}
    with pytest.raises(kind) as caught:
        connection(httpx.Response(status, json=told)).ask("GET", "/cases")
    assert str(caught.value) == "a box; expected another; draw it"


def test_what_is_no_answer_of_ours_is_refused() -> None:
    with pytest.raises(RemoteError, match="answers 502"):
        connection(httpx.Response(502, text="<html>")).ask("GET", "/cases")
    for strange in ("<html>", "[1]", '"x"'):
        with pytest.raises(RemoteError, match="another form"):
            read_rows(connection(httpx.Response(200, text=strange)).ask("GET", "/cases"))
        with pytest.raises(RemoteError, match="another form"):
            read_row(connection(httpx.Response(200, text=strange)).ask("GET", "/cases"))


def test_a_busy_server_is_asked_again_and_the_token_goes_in_the_header_alone() -> None:
    asked: list[httpx.Request] = []
    busy = httpx.Response(429, headers={"Retry-After": "0"})
    answer = connection([busy, busy, httpx.Response(200, json={"a": 1})], asked).ask("POST", "/cases", body={}, seen=3)
    assert read_row(answer) == {"a": 1} and len(asked) == 3
    assert asked[-1].headers["Authorization"] == "Bearer secret-of-ana" and "secret" not in str(asked[-1].url)
    assert asked[-1].headers["If-Match"] == '"v3"' and str(asked[-1].url) == "http://127.0.0.1:8000/api/v1/cases"


def test_a_job_tells_how_far_it_is_and_why_it_failed() -> None:
    told: list[tuple[int, int | None]] = []
    lines = ['data: {"state": "running", "done": 1, "total": 4}', 'data: {"state": "done", "done": 4, "total": 4}']
    job = connection(httpx.Response(200, text="\n\n".join(lines) + "\n\n")).follow("/jobs/1", lambda *n: told.append(n))
    assert job["state"] == "done" and told == [(1, 4), (4, 4)]
    failed = '{"state": "failed", "problem": {"error": "PromptError", "got": "a", "expected": "b", "fix": "c"}}'
    with pytest.raises(PromptError, match="a; expected b; c"):
        connection(httpx.Response(200, text=f"data: {failed}\n\n")).follow("/jobs/1", None)
    with pytest.raises(DataError, match="cancelled"):
        connection(httpx.Response(200, text='data: {"state": "cancelled"}\n\n')).follow("/jobs/1", None)
    with pytest.raises(RemoteError):
        connection(httpx.Response(401, json={"error": "Refusal"})).follow("/jobs/1", None)


def test_a_server_that_is_away_is_named_without_its_token() -> None:
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:1 does not answer") as caught:
        Connection("http://127.0.0.1:1/?token=hidden").ask("GET", "/cases")
    assert "hidden" not in str(caught.value)
    for address in ("study/", "ftp://host", "http://"):
        with pytest.raises(InputFileError):
            Connection(address)


def test_the_package_loads_without_httpx_and_the_client_without_torch() -> None:
    code = (
        "import sys; sys.modules['httpx'] = None; import medsam; medsam.Client\n"
        "try: medsam.Client('http://h')\n"
        "except medsam.MedsamError as error: print(error, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openmedsam[serve]" in done.stdout and done.stdout.rstrip().endswith("False")
