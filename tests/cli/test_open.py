"""`medsam open` as a process: it tells its address, or how to get the page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serving import scan_file

from command import medsam, refused
from medsam.server.page import FOREVER, PAGE

BUILT = (PAGE / "index.html").is_file()


@pytest.mark.skipif(not BUILT or sys.platform == "win32", reason="needs the page, and signals")
def test_it_tells_where_the_page_is_and_its_scripts_may_be_kept_for_ever(tmp_path: Path) -> None:
    process = _started(
        "open", str(scan_file(tmp_path / "a.nii.gz")), "--no-browser", "--port", "0", "--modality", "MR", "--model",
        "openmedsam-lite",
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:") and "?token=" in address, process.stderr.read()
    with httpx.Client(follow_redirects=True, timeout=120) as client:
        page = client.get(address)
        assert (
            page.headers["cache-control"] == "no-cache"
            and "default-src 'self'" in page.headers["content-security-policy"]
        )
        files = list(PAGE.glob("assets/*"))
        assert any(f"./assets/{file.name}" in page.text for file in files)  # the others are loaded by a script
        for file in files:
            sent = client.get(f"{address.partition('/?')[0]}/assets/{file.name}")
            assert sent.content == file.read_bytes() and sent.headers["cache-control"] == FOREVER
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said


@pytest.mark.skipif(not BUILT or sys.platform == "win32", reason="needs the page, and signals")
def test_annotate_without_markers_opens_the_page(tmp_path: Path) -> None:
    scan = str(scan_file(tmp_path / "a.nii.gz"))
    process = _started(
        "annotate", scan, "--port", "0", "--modality", "MR", "--model", "openmedsam-lite", BROWSER="true"
    )
    assert process.stdout is not None and process.stderr is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:") and "?token=" in address, process.stderr.read()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def _started(*words: str, **environment: str) -> subprocess.Popen[str]:
    code = "import sys; from medsam.cli.app import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ) | environment,
    )  # fmt: skip


@pytest.mark.skipif(BUILT, reason="the page is built")
def test_a_checkout_without_the_page_says_how_to_build_it(tmp_path: Path) -> None:
    assert refused(medsam("open", scan_file(tmp_path / "a.nii.gz")), "make page")
