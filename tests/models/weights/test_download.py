"""Downloads against a real server on the loopback: resumed, checked, refused in words."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medsam.errors import ModelUnavailableError
from medsam.models.weights.download import Checks, download

BODY = bytes(range(256)) * 12_000  # 3 MB: several reads
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    body: bytes = BODY
    etag: str | None = '"one"'
    ranges: bool = True
    length: bool = True
    drop_after: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, per request
    statuses: list[int] = field(default_factory=list)  # answers before the good ones
    redirect: str | None = None
    linked: str | None = None
    seen: list[dict[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        does: Behaviour = self.server.does  # type: ignore[attr-defined]
        does.seen.append(dict(self.headers))
        if does.statuses:
            return self.answer_empty(does.statuses.pop(0))
        if does.redirect and self.path != "/moved":
            self.send_response(302)
            self.send_header("Location", does.redirect)
            if does.linked:
                self.send_header("X-Linked-Etag", f'"{does.linked}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return self.send_body(does)

    def send_body(self, does: Behaviour) -> None:
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and does.ranges and self.headers.get("If-Range") == does.etag:
            start = int(asked[1])
            if start >= len(does.body):
                return self.answer_empty(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(does.body) - 1}/{len(does.body)}")
        else:
            self.send_response(200)
        if does.etag:
            self.send_header("ETag", does.etag)
        if does.length:
            self.send_header("Content-Length", str(len(does.body) - start))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        upto = does.drop_after.pop(0) if does.drop_after else len(does.body)
        self.wfile.write(does.body[start : start + upto])
        self.close_connection = True
        return None

    def answer_empty(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, Behaviour]]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.does = Behaviour()  # type: ignore[attr-defined]
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/weights.pth", running.does  # type: ignore[attr-defined]
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def get(server, tmp_path: Path):
    def run(checks: Checks = Checks(len(BODY), SHA256), tries: int = 3) -> Path:  # noqa: B008
        target = tmp_path / "weights.pth"
        download(server[0], target, checks=checks, progress=lambda *_: None, tries=tries, pause_seconds=0.001)
        return target

    return run


def test_whole_file_arrives_and_leaves_nothing_else(get, tmp_path):
    assert get().read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


def test_broken_connection_is_continued_where_it_broke(get, server):
    server[1].drop_after = [1_000_000]
    assert get().read_bytes() == BODY
    first, second = server[1].seen
    assert "Range" not in first
    assert second["Range"] == "bytes=1000000-"
    assert second["If-Range"] == '"one"'


def test_killed_download_is_continued_by_the_next_run(get, server, tmp_path):
    server[1].drop_after = [1_500_000]
    with pytest.raises(ModelUnavailableError, match="broke off"):
        get(tries=1)
    assert not (tmp_path / "weights.pth").exists()
    assert (tmp_path / "weights.pth.part").stat().st_size == 1_500_000
    assert get().read_bytes() == BODY
    assert server[1].seen[-1]["Range"] == "bytes=1500000-"


def test_many_breaks_are_survived_as_long_as_each_try_gains(get, server):
    server[1].drop_after = [400_000] * 6
    assert get(tries=2).read_bytes() == BODY
    assert len(server[1].seen) == 7


def test_server_without_ranges_starts_over(get, server):
    server[1].ranges = False
    server[1].drop_after = [1_000_000]
    assert get().read_bytes() == BODY


def test_file_without_a_version_is_not_continued(get, server):
    server[1].etag = None
    server[1].drop_after = [1_000_000]
    assert get().read_bytes() == BODY
    assert all("Range" not in request for request in server[1].seen)


def test_file_changed_between_tries_is_not_glued_together(get, server):
    server[1].drop_after = [1_000_000]
    with pytest.raises(ModelUnavailableError):
        get(tries=1)
    server[1].body, server[1].etag = BODY[::-1], '"two"'
    new = hashlib.sha256(BODY[::-1]).hexdigest()
    assert get(Checks(len(BODY), new)).read_bytes() == BODY[::-1]


def test_wrong_hash_is_refused_and_the_old_file_stays(get, tmp_path):
    target = tmp_path / "weights.pth"
    target.write_bytes(b"mine")
    with pytest.raises(ModelUnavailableError, match=f"has sha256 {SHA256}; expected sha256 {'0' * 64}"):
        get(Checks(len(BODY), "0" * 64))
    assert target.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pth"]


def test_wrong_md5_is_refused_where_no_sha256_is_known(get):
    with pytest.raises(ModelUnavailableError, match="has md5"):
        get(Checks(md5="0" * 32))


def test_other_size_is_refused_before_the_body(get, server):
    with pytest.raises(ModelUnavailableError, match=r"offers 3,072,000 bytes; expected 5 bytes"):
        get(Checks(size=5))
    assert len(server[1].seen) == 1


def test_body_without_a_length_is_checked_by_its_hash(get, server):
    server[1].length = False
    assert get().read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 403, 410])
def test_refusals_are_not_tried_again(get, server, status):
    server[1].statuses = [status] * 5
    with pytest.raises(ModelUnavailableError, match=f"answered {status}"):
        get()
    assert len(server[1].seen) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_servers_are_tried_again(get, server, status):
    server[1].statuses = [status]
    assert get().read_bytes() == BODY


def test_server_that_stays_busy_is_given_up(get, server):
    server[1].statuses = [503] * 50
    with pytest.raises(ModelUnavailableError, match="503"):
        get()
    assert len(server[1].seen) == 3


def test_redirect_is_followed_with_the_range(get, server):
    server[1].redirect = "/moved"
    server[1].drop_after = [1_000_000]
    assert get().read_bytes() == BODY
    assert "Range" in server[1].seen[-1]


def test_hash_told_by_a_hub_on_the_way_is_checked(get, server):
    server[1].redirect = "/moved"
    server[1].linked = "f" * 64
    with pytest.raises(ModelUnavailableError, match=f"expected sha256 {'f' * 64}"):
        get(Checks())
    server[1].linked = SHA256
    assert get(Checks()).read_bytes() == BODY


def test_stale_part_longer_than_the_file_starts_over(get, server, tmp_path):
    part = tmp_path / "weights.pth.part"
    part.write_bytes(BODY + b"more")
    (tmp_path / "weights.pth.part.json").write_text(json.dumps({"url": server[0], "validator": '"one"'}))
    assert get().read_bytes() == BODY


def test_nobody_listening_is_said(tmp_path):
    with pytest.raises(ModelUnavailableError, match="refused"):
        download(
            "http://127.0.0.1:9/x", tmp_path / "x", checks=Checks(), progress=lambda *_: None, tries=2, pause_seconds=0
        )


def test_only_http_is_spoken(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    with pytest.raises(ModelUnavailableError, match="expected http or https"):
        download(secret.as_uri(), tmp_path / "x", checks=Checks(), progress=lambda *_: None)


def test_progress_counts_up_to_the_size(server, tmp_path):
    said: list[tuple[int, int | None]] = []
    download(server[0], tmp_path / "x", checks=Checks(), progress=lambda done, total: said.append((done, total)))
    assert said[0] == (0, len(BODY))
    assert said[-1] == (len(BODY), len(BODY))
    assert said == sorted(said)
