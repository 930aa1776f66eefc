"""The border of the command: what a disk refuses becomes a line and an exit code, whichever verb was at work."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from command import medsam
from medsam.cli import app
from medsam.models.weights.catalog import fetch

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
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(number: int) -> None:
        raise OSError(number, "refused", "/data/metrics.jsonl")

    assert app.finish(lambda: fail(errno.ENOSPC)) == 1
    assert capsys.readouterr().err.startswith("medsam: no space left on the disk at /data/metrics.jsonl; expected room")
    with pytest.raises(PermissionError):
        app.finish(lambda: fail(errno.EACCES))


@pytest.mark.parametrize("name", list(app.VERBS))
def test_every_verb_has_an_example_that_is_understood_and_shown(name: str) -> None:
    words = shlex.split(app.VERBS[name].example)[1:]
    app.build_app().parse_args(words, exit_on_error=False, print_error=False)
    shown = " ".join(medsam(f"{name} --help").out.split())
    assert f"Example: {app.VERBS[name].example}" in shown
    assert "--json" in shown
    assert "--threads" in shown


def test_help_groups_the_verbs_and_loads_neither_numpy_nor_torch() -> None:
    text = medsam("--help").out
    places = [text.index(f"╭─ {group} ─") for group in ("Segment", "Data", "Train", "System", "Every verb")]
    assert places == sorted(places)
    code = "import sys; from medsam.cli.app import run; run(['segment', '--help']); sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_numbers_that_follow_a_box_one_by_one_are_joined() -> None:
    words = [
        "segment",
        "a.png",
        "--box",
        "1",
        "2",
        "3",
        "4",
        "--box",
        "-5,6,7,8",
        "--point",
        "9",
        "10",
        "0",
        "b.png",
        "-o",
        "5",
    ]
    joined = ["segment", "a.png", "--box", "1,2,3,4", "--box", "-5,6,7,8", "--point", "9,10,0", "b.png", "-o", "5"]
    assert app.join_numbers(words) == joined


def test_a_password_in_an_address_is_never_printed() -> None:
    address = "dicomweb://user:secret@127.0.0.1:9/dicom-web/studies/1.2/series/1.3"
    for line in ("info", "measure", "store info", "cards check", "doctor", "segment --box 1,2,3,4 -o a.png --prompts"):
        ended = medsam(line, address)
        assert ended.code in (1, 2)
        assert "secret" not in ended.out + ended.err
