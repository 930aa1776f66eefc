"""A conversation with an archive that is not trusted: what it sends is bounded in bytes, in time and in depth.

Answers are asked for uncompressed and are inflated here, a piece at a time, where an archive compresses them all the
same. A thread looks at the clock and closes the connection, so that no phase of HTTP can wait for ever.
"""

from __future__ import annotations

import http.client
import json
import re
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from medsam.errors import MissingDependencyError, RemoteError
from medsam.io.dicom.inflate import INFLATED_FLOOR, INFLATED_RATIO
from medsam.io.dicom.multipart import OneFileBody, Part, iter_parts
from medsam.io.dicom.pacs_address import PacsAddress
from medsam.io.dicom.web_watch import LIMITS, ConnectionWatch, TransferLimits, make_adapter

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 5.0
CHUNK_BYTES = 1 << 16
MULTIPART = 'multipart/related; type="application/dicom"'
JSON = "application/dicom+json, application/json"


class PacsSession:
    """One conversation with an archive; every failure is a RemoteError that names the archive and nothing else.

    Args:
        address: The archive.
        verb: What it is for, in messages.
        limits: What it may cost.
        so_far: Words for messages about what is done already.
    """

    def __init__(
        self,
        address: PacsAddress,
        verb: str,
        limits: TransferLimits = LIMITS,
        so_far: Callable[[], str] = lambda: "",
    ) -> None:
        self.address, self.limits = address, limits
        self._verb, self.tell_progress = verb, so_far
        self._watch: ConnectionWatch

    def __enter__(self) -> PacsSession:
        """Open it."""
        requests = _import_requests()
        self._watch = ConnectionWatch(self.limits)
        self._session = requests.Session()
        if self.address.user is not None:
            user, password = self.address.user.encode(), (self.address.password or "").encode()
            self._session.auth = (user, password)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, make_adapter(self._watch))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._session.close()
        self._watch.close()

    def get_rows(self, path: str, query: Mapping[str, str | list[str]]) -> list[dict[str, Any]]:
        """The answer to a search: a list of objects in DICOM JSON.

        Raises:
            RemoteError: the archive is away, refuses, or answers something else.
        """
        with self._ask("GET", path, {"Accept": JSON}, query=query) as answer:
            if answer.status_code == 204:
                return []
            rows = self._read_json(answer)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self.refuse_answer("it is no list of objects")
        return rows

    def iter_parts(self, path: str, most: int) -> Iterator[Part]:
        """The parts of a series, as they arrive; of at most `most` bytes in all.

        Raises:
            RemoteError: the archive is away, refuses, breaks off, or answers something else.
        """
        accept = f"{MULTIPART}; transfer-syntax=*"
        with self._ask("GET", path, {"Accept": accept}) as answer:
            kind = answer.headers.get("Content-Type", "")
            found = re.search(r'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', kind)
            if answer.status_code != 200 or not kind.lower().startswith("multipart/related") or found is None:
                raise self.refuse_answer("it is not multipart")
            yield from iter_parts(self._read(answer, most), found[1] or found[2], self.refuse_answer)

    def post_file(self, path: str, file: Path) -> dict[str, Any]:
        """Send a DICOM file; gives the archive's answer, an object in DICOM JSON.

        Raises:
            RemoteError: the archive is away, refuses, breaks off, or answers something else.
        """
        boundary = secrets.token_hex(16)
        headers = {"Accept": JSON, "Content-Type": f"{MULTIPART}; boundary={boundary}"}
        body = OneFileBody(file, boundary, self._watch.count)
        with self._ask("POST", path, headers, body=body, allowed=(409,)) as answer:
            value = self._read_json(answer)
        if not isinstance(value, dict):
            raise self.refuse_answer("it is no object")
        return value

    @contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str | list[str]] | None = None,
        body: OneFileBody | None = None,
        allowed: tuple[int, ...] = (),
    ) -> Iterator[requests.Response]:
        """Send a request; redirects are not followed, for they would carry the password along."""
        with self._network():
            answer = self._session.request(
                method,
                f"{self.address.url}/{path}",
                params=dict(query or {}),
                headers={**headers, "Accept-Encoding": "identity"},
                data=body,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_SECONDS, self.limits.idle_seconds),
            )
        with answer:
            if not 200 <= answer.status_code < 300 and answer.status_code not in allowed:
                raise self._refuse_status(answer.status_code)
            yield answer

    def _read_json(self, answer: requests.Response) -> object:
        content = b"".join(self._read(answer, self.limits.answer_bytes))
        try:
            value: object = json.loads(content)
        except (ValueError, RecursionError):  # no JSON, or deeper than the parser goes
            raise self.refuse_answer("it is no JSON" if content else "it is empty") from None
        return value

    def _read(self, answer: requests.Response, most: int) -> Iterator[bytes]:
        """The body, inflated; `most` bounds it as it was sent and as it is."""
        unfold = self._choose_decoder(answer)
        sent = unfolded = 0
        while chunk := self._receive(answer):
            sent += len(chunk)
            for piece in unfold(chunk):
                unfolded += len(piece)
                if unfolded > max(INFLATED_FLOOR, INFLATED_RATIO * sent):
                    raise self.refuse_answer(f"it inflates {sent:,} bytes to more than {INFLATED_RATIO} times as many")
                if unfolded > most:
                    raise self.refuse_answer(f"it has more than {most:,} bytes")
                yield piece
            if sent > most:
                raise self.refuse_answer(f"it has more than {most:,} bytes")

    def _receive(self, answer: requests.Response) -> bytes:
        with self._network():
            chunk: bytes = answer.raw.read1(CHUNK_BYTES, decode_content=False)
        self._watch.count(len(chunk))
        return chunk

    def _choose_decoder(self, answer: requests.Response) -> Callable[[bytes], Iterator[bytes]]:
        coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
        if coding in ("", "identity"):
            return lambda chunk: iter((chunk,))
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise self.refuse_answer("it is compressed in a way that was not asked for")
        unfolder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its first bytes

        def unfold(chunk: bytes) -> Iterator[bytes]:
            while chunk and not unfolder.eof:
                try:
                    piece = unfolder.decompress(chunk, CHUNK_BYTES)
                except zlib.error:
                    raise self.refuse_answer("its compression is damaged") from None
                chunk = unfolder.unconsumed_tail
                if piece:
                    yield piece

        return unfold

    @contextmanager
    def _network(self) -> Iterator[None]:
        """Around every wait for the other side: what fails there, by whatever exception, is the archive's."""
        import requests
        import urllib3

        try:
            yield
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            self._refuse_failure(error)
        if self._watch.verdict:
            raise self._refuse_time(self._watch.verdict)

    def _refuse_failure(self, error: Exception) -> NoReturn:
        import requests
        import urllib3

        if self._watch.verdict:
            raise self._refuse_time(self._watch.verdict) from None
        if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)):
            raise self._refuse_time("did not answer in time") from None
        text = str(error)
        broke = any(word in text for word in ("aborted", "reset", "Incomplete", "broken", "Broken"))
        raise RemoteError(
            f"{self.address.url} {'broke off' if broke else 'does not answer'} ({self._verb}){self.tell_progress()}",
            expected="a running PACS at this address",
            fix="check host and port, then run the same command again",
        ) from None

    def _refuse_time(self, what: str) -> RemoteError:
        return RemoteError(
            f"{self.address.url} {what} ({self._verb}){self.tell_progress()}",
            expected="a PACS that answers",
            fix="try again, or ask its administrator",
        )

    def refuse_answer(self, what: str) -> RemoteError:
        """The error for an answer that cannot be used; the caller raises it."""
        return RemoteError(
            f"{self.address.url} gave an answer that cannot be used ({self._verb}: {what}){self.tell_progress()}",
            expected="a DICOMweb service",
            fix="check the path, often /dicom-web, then ask its administrator",
        )

    def _refuse_status(self, code: int) -> RemoteError:
        words, expected, fix = "failed", "a PACS in working order", "try again, then ask its administrator"
        if code in (401, 403):
            words, expected = "refuses access", "valid credentials"
            fix = "put user and password into ~/.netrc or the address (user:password@host)"
        elif code == 404:
            words, expected = "has nothing there", "a DICOMweb root and UIDs that exist"
            fix = "check the path and run medsam pacs query"
        elif 300 <= code < 400:
            words, expected, fix = (
                "has moved",
                "the archive itself",
                "give its new address, often dicomwebs:// for https",
            )
        return RemoteError(
            f"{self.address.url} {words} (HTTP {code}, {self._verb}){self.tell_progress()}", expected=expected, fix=fix
        )


def _import_requests() -> Any:  # noqa: ANN401 - a module
    try:
        import requests
    except ImportError:
        raise MissingDependencyError(
            "requests is not installed", expected="the pacs extra", fix="run: pip install 'openmedsam[pacs]'"
        ) from None
    return requests
