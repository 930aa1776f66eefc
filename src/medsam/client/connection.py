"""Requests to a server of medsam: the token, errors as our own, patience where it is busy, progress of jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from medsam import errors
from medsam.errors import ConflictError, DataError, InputFileError, MedsamError, MissingDependencyError, RemoteError
from medsam.progress import Progress

if TYPE_CHECKING:
    import httpx

Row = dict[str, Any]  # one object of the wire; values.py makes values of it
BUSY_TRIES = 60  # of a request that a busy server sends away; it says itself how long to wait
READ_SECONDS = 600.0  # a prompt may wait for others and for the image encoder
FIX = "see docs/server.md"


class Connection:
    """One server, and the token that opens it.

    Args:
        address: http(s)://host:port, with ?token=... as the server prints it, or without.
        token: In place of the one in the address.
        http: A client of one's own, as for a proxy or certificates; the one who made it closes it.

    Raises:
        MissingDependencyError: httpx is not installed. InputFileError: no http address.
    """

    def __init__(self, address: str, token: str | None = None, http: httpx.Client | None = None) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingDependencyError(
                "the package httpx is not installed", expected="it for medsam.Client",
                fix="pip install 'openmedsam[serve]'",
            ) from None  # fmt: skip
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputFileError(
                "an address that is none of a server", expected="http://127.0.0.1:8000",
                fix="pass what medsam serve prints",
            )  # fmt: skip
        token = token or parse_qs(parts.query).get("token", [None])[0]
        self.root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._own = http is None
        self._http = http or httpx.Client(timeout=httpx.Timeout(READ_SECONDS, connect=10.0))
        self._lost = httpx.TransportError

    def close(self) -> None:
        """Let go of the server."""
        if self._own:
            self._http.close()

    def ask(
        self, method: str, path: str, *, body: object = None, content: bytes | IO[bytes] | None = None, query: Mapping[str, object] | None = None,
        seen: int | None = None,
    ) -> httpx.Response:  # fmt: skip
        """Send a request, again while the server is busy.

        Args:
            method: Of HTTP.
            path: Below /api/v1.
            body: Sent as JSON.
            content: Bytes, or a file open for reading.
            query: What is not None of it.
            seen: The version that a write was made from.

        Raises:
            MedsamError: what the server says, as the error of this package that it names.
            RemoteError: it is away, stays busy, or answers what is no answer.
        """
        headers = self._headers | ({} if seen is None else {"If-Match": f'"v{seen}"'})
        if content is not None:
            headers["Content-Type"] = "application/octet-stream"
        wanted = {name: value for name, value in (query or {}).items() if value is not None}
        for _ in range(BUSY_TRIES):
            try:
                answer = self._http.request(
                    method, f"{self.root}{path}", json=body, content=content, params=wanted, headers=headers  # type: ignore[arg-type]
                )  # fmt: skip
            except self._lost as error:
                raise self._away(error) from None
            if answer.status_code != 429:
                break
            time.sleep(min(float(answer.headers.get("Retry-After", "1")), 10.0))
        if answer.is_success:
            return answer
        raise _told(answer)

    def follow(self, path: str, progress: Progress | None) -> Row:
        """Wait for a job by its events.

        Args:
            path: Of the job.
            progress: Called with (slices done, slices in all).

        Returns:
            The job as it ended.

        Raises:
            MedsamError: what made it fail.
        """
        job: Row = {"state": "waiting"}
        try:
            with self._http.stream("GET", f"{self.root}{path}/events", headers=self._headers) as events:
                if not events.is_success:
                    events.read()
                    raise _told(events)
                for line in events.iter_lines():
                    if line.startswith("data: "):
                        job = json.loads(line[6:])
                        if progress is not None and job.get("total"):
                            progress(job["done"], job["total"])
        except self._lost as error:
            raise self._away(error) from None
        if job["state"] == "failed":
            problem = job["problem"] or {}
            raise _error_of(problem, 409 if problem.get("error") == "Conflict" else 422)
        if job["state"] != "done":
            raise DataError(f"a job that is {job['state']}", expected="one that is done", fix="start it again")
        return job

    def _away(self, error: Exception) -> RemoteError:
        return RemoteError(
            f"the server at {urlsplit(self.root).netloc} does not answer ({type(error).__name__})",
            expected="one that runs", fix="start it with medsam serve, and check the address",
        )  # fmt: skip


def read_row(answer: httpx.Response) -> Row:
    """An answer that is one JSON object.

    Raises:
        RemoteError: it is none.
    """
    found = _read(answer)
    if not isinstance(found, dict):
        raise _strange()
    return found


def read_rows(answer: httpx.Response) -> list[Row]:
    """An answer that is a list of JSON objects.

    Raises:
        RemoteError: it is none.
    """
    found = _read(answer)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise _strange()
    return found


def _read(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        raise _strange() from None


def _strange() -> RemoteError:
    return RemoteError("an answer of another form", expected="a server of medsam", fix="check address and versions")


def _told(answer: httpx.Response) -> MedsamError:
    try:
        told = answer.json()
    except ValueError:
        told = None
    return _error_of(told if isinstance(told, dict) else {}, answer.status_code)


def _error_of(told: Mapping[str, object], status: int) -> MedsamError:
    """The error that the server names, where this package has it, else one that fits the status."""
    by_status = {404: DataError, 409: ConflictError, 428: DataError}
    named = getattr(errors, str(told.get("error")), None)
    kind: type[MedsamError] = by_status.get(status, RemoteError)
    if isinstance(named, type) and issubclass(named, MedsamError):
        kind = named
    got = str(told.get("got") or f"the server answers {status}")
    return kind(got, expected=str(told.get("expected") or "an answer"), fix=str(told.get("fix") or FIX))
