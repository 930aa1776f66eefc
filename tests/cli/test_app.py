"""The border of the command: what a disk refuses becomes a line and an exit code, whichever verb was at work."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from medsam.cli import app
from medsam.models.catalog import fetch

SMALL_FILES_ONLY = """
import resource, signal, sys
from medsam.cli.app import run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, resource.RLIM_INFINITY))
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["lite.safetensors", "lite.pth"])
def test_weights_that_find_no_room_end_in_a_line_and_leave_nothing(tmp_path: Path, name: str) -> None:
    command = [
        sys.executable,
        "-c",
        SMALL_FILES_ONLY,
        "models",
        "convert",
        str(fetch("lite-medsam")),
        str(tmp_path / name),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 1
    assert f"{name} could not be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_a_line_and_other_faults_of_the_system_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(arguments: list[str]) -> None:
        raise OSError(int(arguments[0]), "refused", "/data/metrics.jsonl")

    monkeypatch.setattr(app, "build_app", lambda: refused)
    assert app.run([str(errno.ENOSPC)]) == 1
    assert capsys.readouterr().err.startswith("medsam: no space left on the disk at /data/metrics.jsonl; expected room")
    with pytest.raises(PermissionError):
        app.run([str(errno.EACCES)])
