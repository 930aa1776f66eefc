"""`medsam serve` as a process: the address it prints, its end, and what it refuses."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from serving import scan_file

from command import medsam, refused
from medsam.annotation.study.project import open_project


def started(*words: str) -> subprocess.Popen[str]:
    code = "import sys; from medsam.cli.app import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_it_prints_an_address_that_opens_and_ends_in_peace(tmp_path: Path) -> None:
    scan_file(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes(b"broken")
    words = ["serve", str(tmp_path), "--port", "0", "--modality", "MR", "--model", "openmedsam-lite"]
    process = started(*words)
    assert process.stdout is not None and process.stderr is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:") and "?token=" in address, process.stderr.read()
    with httpx.Client(follow_redirects=True, timeout=120) as client:
        assert "medsam" in client.get(address).text.lower()  # the page, or where it is not built the server's name
        [case] = client.get(address.partition("/?")[0] + "/api/v1/cases").json()
        assert case["shape"] == [6, 40, 48]
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGINT) and "b.nii.gz" in said and "Traceback" not in said
    with open_project(tmp_path / "medsam-project") as project:
        assert [Path(one.source).name for one in project.cases()] == ["a.nii.gz"] and project.check() == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_second_interrupt_ends_it_in_the_middle_of_a_job_without_a_traceback(tmp_path: Path) -> None:
    scan_file(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 900, (200, 40, 48), dtype=np.int16))
    process = started("serve", str(tmp_path), "--port", "0", "--modality", "MR", "--model", "openmedsam-lite")
    assert process.stdout is not None
    base, _, token = process.stdout.readline().strip().partition("/?token=")
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        path = f"/api/v1/cases/{client.get('/api/v1/cases').json()[0]['id']}/jobs"
        body = {"prompts": [{"slice": k, "box": [5, 5, 40, 35]} for k in range(200)]}
        job = client.post(path, json=body, headers={"If-Match": '"v0"'}).json()
        while client.get(f"{path}/{job['id']}").json()["done"] == 0:
            pass
        process.send_signal(signal.SIGINT)
        while client.get("/readyz").status_code != 503:
            pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "what was finished is kept" in said
    assert "Traceback" not in said and "terminate" not in said


def test_a_host_that_others_reach_needs_tokens(tmp_path: Path) -> None:
    scan = scan_file(tmp_path / "a.nii.gz")
    assert refused(medsam("serve --host 0.0.0.0", scan), "--token-file", "TLS")
    (tmp_path / "t").write_text("ana short\n")
    assert refused(medsam("serve --host 0.0.0.0 --token-file", tmp_path / "t", scan), "token file")
    assert refused(medsam("serve", tmp_path / "no"), "does not exist")
    assert refused(medsam("serve", scan), "pass --modality")


def test_tokens_are_made_listed_and_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = medsam("serve token new ana --role read --json").json
    assert (made["name"], made["role"]) == ("ana", "read") and len(made["token"]) >= 32
    file = tmp_path / ".config/medsam/tokens"
    assert made["token"] not in file.read_text() and "sha256:" in file.read_text()
    other = tmp_path / "other"
    token = medsam("serve token new bob --token-file", other).out.strip()
    assert len(token) >= 32 and medsam("serve token list --token-file", other).out.split() == ["bob", "annotate"]
    assert refused(medsam("serve token new ana"), "revoke ana")
    assert medsam("serve token list --json").json == [{"name": "ana", "role": "read"}]
    assert medsam("serve token revoke ana").code == 0 and medsam("serve token list --json").json == []
    assert refused(medsam("serve token revoke ana"), "serve token list")
    assert medsam("serve token new eve --role root").code == 2
