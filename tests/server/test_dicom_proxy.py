"""DICOMweb passed on from the server's own PACS, and from nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from serving import serve

ROOT = "/monailabel/proxy/dicom"


class Pacs(BaseHTTPRequestHandler):
    seen: ClassVar[list[tuple[str, str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization", ""), self.headers.get("Accept", "")))
        away = "/moved" in self.path
        self.send_response(302 if away else 404 if "/none" in self.path else 200)
        body = b"[]" * 5
        for name, value in {
            "Content-Type": "application/dicom+json",
            "Set-Cookie": "a=b",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        if away:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def pacs() -> Iterator[int]:
    Pacs.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pacs)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_questions_go_to_the_pacs_with_its_own_password_and_answers_come_back(tmp_path: Path, pacs: int) -> None:
    with serve(tmp_path, pacs=f"dicomweb://ana:secret@127.0.0.1:{pacs}/dicom-web") as served:
        asked = served.client.get(
            f"{ROOT}/qido/studies?limit=5&00080060=CT", headers={"Accept": "application/dicom+json"}
        )
        assert asked.status_code == 200 and asked.content == b"[]" * 5 and "Set-Cookie" not in asked.headers
        assert asked.headers["content-type"] == "application/dicom+json"
        assert Pacs.seen == [
            ("/dicom-web/studies?limit=5&00080060=CT", "Basic YW5hOnNlY3JldA==", "application/dicom+json")
        ]
        assert served.client.get(f"{ROOT}/wado/studies/1.2/series/1.3/instances/1.4/frames/1,2").status_code == 200
        assert served.client.get(f"{ROOT}/wado/studies/none").status_code == 404
        assert served.client.get(f"{ROOT}/qido/studies", headers={"Authorization": "Bearer x"}).status_code == 401
        assert len(Pacs.seen) == 3


@pytest.mark.parametrize(
    "path",
    [
        "studies/../../admin", "studies/%2e%2e/x", "http://127.0.0.1:1/studies", "/127.0.0.1:1/studies", "@127.0.0.1:1/studies",
        "system", "studies/1@2", "studies//1", "studies/1%0d%0aX: y", "studies/1?x=%0d%0aHost: y#".replace("?", "%3f"), "",
    ],
)  # fmt: skip
def test_no_path_leads_elsewhere(tmp_path: Path, pacs: int, path: str) -> None:
    with serve(tmp_path, pacs=f"dicomweb://127.0.0.1:{pacs}/dicom-web") as served:
        assert served.client.get(f"{ROOT}/wado/{path}").status_code in (400, 404)
        assert Pacs.seen == []


def test_a_pacs_that_sends_elsewhere_or_is_silent_or_is_none(tmp_path: Path, pacs: int) -> None:
    for name, address, status in (
        ("a", f"dicomweb://127.0.0.1:{pacs}/dicom-web", 502), ("b", "dicomweb://127.0.0.1:1/dicom-web", 502), ("c", None, 422),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        with serve(tmp_path / name, pacs=address) as served:
            answer = served.client.get(f"{ROOT}/wado/studies/moved")
            assert answer.status_code == status and answer.json()["detail"] and "Location" not in answer.headers
