"""A conversation with an archive: what is asked for, inflated, joined and refused."""

from __future__ import annotations

import gzip
import json
import zlib
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from hostile_pacs import GOOD, LIMITS, MULTIPART, Answer, HostilePacs, gives, multipart, says, series_row

from medsam.errors import RemoteError
from medsam.io.dicom.web import fetch, parse_address, query
from medsam.io.dicom.web_session import PacsSession


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_honest_compression_is_inflated(coding: str, pacs: HostilePacs, tmp_path: Path) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    pacs.search = says(pack(json.dumps([series_row(3)]).encode()), Content_Encoding=coding)
    pacs.fetch = says(pack(multipart(GOOD)), MULTIPART, Content_Encoding=coding)
    assert fetch(parse_address(pacs.address), tmp_path / "ct", limits=LIMITS) == 3


def test_parts_in_pieces_of_any_size_arrive_equal(pacs: HostilePacs, tmp_path: Path) -> None:
    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: " + MULTIPART.encode())
        handler.wfile.write(b"\r\n\r\n")
        body, rng, place = multipart(GOOD), np.random.default_rng(0), 0
        while place < len(body):
            piece = body[place : place + int(rng.integers(1, 90))]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            place += len(piece)
        handler.wfile.write(b"0\r\n\r\n")

    pacs.fetch = chunked
    assert fetch(parse_address(pacs.address), tmp_path / "ct", limits=LIMITS) == 3
    assert [file.read_bytes() for file in sorted((tmp_path / "ct").iterdir())] == GOOD


def test_no_content_is_an_empty_list(pacs: HostilePacs) -> None:
    pacs.search = says(b"", status=204)
    assert query(parse_address(pacs.archive), limits=LIMITS) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says(b"", status=401), r"refuses access \(HTTP 401, search\) so far 3; expected valid credentials"),
        (says(b"", status=404), "has nothing there"),
        (says(b"", status=302, Location="http://127.0.0.1:1/"), "has moved"),
        (says(b"", status=500), r"failed \(HTTP 500"),
        (gives({"a": 1}), "it is no list of objects"),
        (says(b"[]", Content_Encoding="br"), "compressed in a way that was not asked for"),
    ],
)
def test_failure_names_the_archive_what_was_tried_and_how_far_it_was(
    answer: Answer, said: str, pacs: HostilePacs
) -> None:
    pacs.search = answer
    with (
        PacsSession(parse_address(pacs.archive), "search", LIMITS, lambda: " so far 3") as session,
        pytest.raises(RemoteError, match=said) as caught,
    ):
        session.get_rows("studies", {})
    assert f"http://127.0.0.1:{pacs.port}/dicom-web " in str(caught.value)
    assert "hunter2" not in str(caught.value)
