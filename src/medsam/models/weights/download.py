"""One file over http(s): resumed where it broke off, checked before it takes its name, never half there."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from medsam.errors import ModelUnavailableError
from medsam.files.atomic import commit
from medsam.models.weights.file import digest
from medsam.progress import Progress

CHUNK_BYTES = 1 << 20
LIMIT_BYTES = 16 << 30
TIMEOUT_SECONDS = 30.0
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Checks:
    """What is known of the file before it comes; None where unknown."""

    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


class _Broken(Exception):
    """The transfer failed in a way that another try may mend."""


def download(
    url: str, target: Path, *, checks: Checks, progress: Progress, tries: int = 4, pause_seconds: float = 1.0
) -> None:
    """Fetch `url` into `target`, going on from an earlier broken try where the server's file is still the same.

    Args:
        url: http or https; a redirect from https to http is refused.
        target: Where the file goes once checked; bytes so far lie beside it as NAME.part.
        checks: Size and hashes to hold it to.
        progress: Called with bytes so far and in all.
        tries: Failures in a row, without a byte gained, after which to give up.
        pause_seconds: Before the second try; doubles with each.

    Raises:
        ModelUnavailableError: refused by the server, broken off for good, too large, or not the file expected.
    """
    part = target.with_name(target.name + ".part")
    failures, had = 0, 0
    while True:
        try:
            linked_sha256 = _transfer(url, part, checks, progress)
            break
        except _Broken as error:
            reached = part.stat().st_size if part.exists() else 0
            failures = 1 if reached > had else failures + 1
            had = max(had, reached)
            if failures >= tries:
                raise ModelUnavailableError(
                    f"{url} broke off at {reached:,} bytes ({error})",
                    expected="the whole file",
                    fix="check the connection and run the command again; it goes on where it stopped",
                ) from None
            time.sleep(pause_seconds * 2 ** (failures - 1))
    problem = find_mismatch(part, checks if checks.sha256 else Checks(checks.size, linked_sha256, checks.md5))
    if problem:
        _forget(part)
        raise ModelUnavailableError(
            f"the file from {url} {problem[0]}",
            expected=problem[1],
            fix="try again later or from another network; if it stays so the publisher changed the file",
        )
    commit(part, target)
    _forget(part)


def find_mismatch(path: Path, checks: Checks) -> tuple[str, str] | None:
    """What a file is and should have been, or None where it is as expected."""
    size = path.stat().st_size
    if checks.size is not None and size != checks.size:
        return f"has {size:,} bytes", f"{checks.size:,} bytes"
    if checks.sha256 is not None:
        found = digest(path)
        return None if found == checks.sha256 else (f"has sha256 {found}", f"sha256 {checks.sha256}")
    if checks.md5 is not None:
        found = digest(path, "md5")
        return None if found == checks.md5 else (f"has md5 {found}", f"md5 {checks.md5}")
    return None


def _transfer(url: str, part: Path, checks: Checks, progress: Progress) -> str | None:
    record = _read_record(part, url)
    start = part.stat().st_size if record else 0
    redirects = _Redirects()
    headers = {"User-Agent": "openmedsam", "Accept-Encoding": "identity"}
    if start and record:
        headers |= {"Range": f"bytes={start}-", "If-Range": record}
    try:
        with _open(url, headers, redirects) as response:
            start, total = _where(response, start, record)
            if not start:
                _forget(part)
            _check_total(url, part, total, checks)
            _write_record(part, url, _validator(response.headers))
            _copy(response, part, start, total, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _forget(part)
        if error.code in _TRANSIENT or error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _Broken(f"{error.code} {error.reason}") from None
        raise ModelUnavailableError(
            f"{url} answered {error.code} {error.reason}",
            expected="the file",
            fix="see the model's homepage for where it lies now",
        ) from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ModelUnavailableError(
                f"{url} has a certificate that is not trusted here",
                expected="a certificate signed by a known authority",
                fix="set SSL_CERT_FILE to your network's certificates, or fetch the file by hand",
            ) from None
        raise _Broken(str(reason) or type(error).__name__) from None
    return redirects.linked_sha256


def _open(url: str, headers: dict[str, str], redirects: _Redirects) -> http.client.HTTPResponse:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ModelUnavailableError(f"the address {url}", expected="http or https", fix="check HF_ENDPOINT")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked above
    opener = urllib.request.build_opener(redirects)
    response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_SECONDS)
    return response


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, and notes the sha256 a hub tells on the way."""

    linked_sha256: str | None = None

    def redirect_request(  # noqa: PLR0917 - the base class's signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """As the base class, with the two additions."""
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise ModelUnavailableError(
                f"{req.full_url} leads to an address without encryption", expected="https", fix="fetch the file by hand"
            )
        linked = (headers.get("X-Linked-Etag") or "").strip('"').lower()
        if len(linked) == 64 and all(letter in "0123456789abcdef" for letter in linked):
            self.linked_sha256 = linked
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _where(response: http.client.HTTPResponse, start: int, record: str | None) -> tuple[int, int | None]:
    """Where the body begins and how long the whole file is; 0 where the server starts over."""
    length = response.headers.get("Content-Length")
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0, int(length) if length and length.isdigit() else None
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, whole = rest.partition("/")
    if unit != "bytes" or span.partition("-")[0] != str(start) or not whole.isdigit():
        raise _Broken("the server sent another part than asked for")
    told = _validator(response.headers)
    if told is not None and told != record:
        raise _Broken("the file changed on the server")
    return start, int(whole)


def _check_total(url: str, part: Path, total: int | None, checks: Checks) -> None:
    if checks.size is not None and total is not None and total != checks.size:
        raise ModelUnavailableError(
            f"{url} offers {total:,} bytes",
            expected=f"{checks.size:,} bytes",
            fix="the publisher changed the file; see its homepage",
        )
    wanted = total or checks.size or 0
    if wanted > LIMIT_BYTES:
        raise ModelUnavailableError(
            f"{url} offers {wanted:,} bytes", expected=f"at most {LIMIT_BYTES:,}", fix="fetch it by hand"
        )
    there = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < wanted - there:
        raise ModelUnavailableError(
            f"{part.parent} has {free:,} bytes free",
            expected=f"{wanted - there:,}",
            fix="free space, or set MEDSAM_CACHE to a folder with room",
        )


def _copy(response: http.client.HTTPResponse, part: Path, start: int, total: int | None, progress: Progress) -> None:
    done = start
    with part.open("ab" if start else "wb") as file:
        progress(done, total)
        while chunk := response.read(CHUNK_BYTES):
            done += len(chunk)
            if done > (LIMIT_BYTES if total is None else total):
                raise ModelUnavailableError(
                    f"{done:,} bytes came and no end", expected="a file of the size told", fix="fetch it by hand"
                )
            file.write(chunk)
            progress(done, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and done < total:
        raise _Broken(f"{total - done:,} bytes short")


def _validator(headers: Message) -> str | None:
    """What tells this version of the file from another: a strong ETag, or the date it changed."""
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    return headers.get("Last-Modified")


def _record_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_record(part: Path, url: str) -> str | None:
    """The validator of the bytes in `part`, None where they cannot be continued."""
    try:
        record = json.loads(_record_of(part).read_text("utf-8"))
        return str(record["validator"]) if record["url"] == url and part.stat().st_size > 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_record(part: Path, url: str, validator: str | None) -> None:
    if validator is not None:
        _record_of(part).write_text(json.dumps({"url": url, "validator": validator}), "utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _record_of(part).unlink(missing_ok=True)
