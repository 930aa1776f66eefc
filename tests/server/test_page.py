"""The page's files: what has a hashed name is kept for ever, the rest is asked for anew."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from medsam.server.page import FOREVER, PageFiles


def test_hashed_files_are_immutable_and_the_page_is_not(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/main-abc123.js").write_text("1")
    (tmp_path / "index.html").write_text("<p>page</p>")
    app = FastAPI()
    app.mount("/", PageFiles(tmp_path))
    client = TestClient(app)
    assert client.get("/assets/main-abc123.js").headers["Cache-Control"] == FOREVER
    page = client.get("/")
    assert (page.text, page.headers["Cache-Control"]) == ("<p>page</p>", "no-cache")
    assert client.get("/../secret").status_code == 404
