"""One way to answer, to report, to show progress and to log."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command import medsam, refused
from medsam.cli.terminal import Terminal, logging_to
from medsam.errors import PromptError

Captured = pytest.CaptureFixture[str]


def test_an_answer_is_json_for_programs_and_text_for_people(capsys: Captured) -> None:
    Terminal(json=True, quiet=True).answer({"path": Path("a"), "name": "Läsion"}, "text")
    assert json.loads(capsys.readouterr().out) == {"path": "a", "name": "Läsion"}
    Terminal(quiet=True).answer({}, "text\n")
    Terminal().answer({}, lambda: print("drawn"))
    assert capsys.readouterr().out == "text\ndrawn\n"


def test_a_quiet_command_does_not_report_or_note(capsys: Captured) -> None:
    Terminal(quiet=True).report({"n": 1}, "1 mask")
    Terminal(quiet=True).note("1 mask")
    assert capsys.readouterr() == ("", "")
    Terminal(json=True, quiet=True).report({"n": 1}, "1 mask")
    assert json.loads(capsys.readouterr().out) == {"n": 1}
    Terminal().note("beside")
    assert capsys.readouterr() == ("", "beside\n")


def test_progress_is_nothing_where_it_is_quiet_and_a_bar_for_each_job_else() -> None:
    with Terminal(quiet=True).progress("segment") as progress:
        assert progress is None
    with Terminal().bars(["a", "b"]) as bars:
        assert list(bars) == ["a", "b"]
        bars["a"](1, 2)


DRAW = """
from medsam.cli.terminal import Terminal
with Terminal().bars(["fetching a", "fetching b"], in_bytes=True) as bars:
    bars["fetching a"](2_000_000, None)
    bars["fetching b"](1_000_000, 4_000_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_a_terminal_shows_a_bar_for_each_job() -> None:
    import pty

    screen, side = pty.openpty()
    try:
        env = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
        assert subprocess.run([sys.executable, "-c", DRAW], stderr=side, env=env, check=False).returncode == 0
        seen = os.read(screen, 1 << 16).decode()
    finally:
        os.close(side)
        os.close(screen)
    assert "fetching a" in seen
    assert "1.0/4.0 MB" in seen


def test_the_log_goes_to_a_file_with_its_errors_and_handlers_go_away(tmp_path: Path, capsys: Captured) -> None:
    log = logging.getLogger("medsam")
    before = list(log.handlers), log.level

    def verb() -> None:
        with logging_to(quiet=True, verbose=False, file=tmp_path / "run.log"):
            log.warning("taken as a mask")
            raise PromptError("box is 'x'", expected="four numbers", fix="give them")

    with pytest.raises(PromptError):
        verb()
    assert (list(log.handlers), log.level) == before
    assert capsys.readouterr().err == ""
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split(" ", 2)[2].partition(" ")[0] for line in lines] == ["WARNING", "ERROR"]
    assert "box is 'x'" in lines[1]


def test_verbose_says_more_and_quiet_less(capsys: Captured) -> None:
    for quiet, verbose, said in ((False, False, "warned\n"), (False, True, "told\nwarned\n"), (True, False, "")):
        with logging_to(quiet=quiet, verbose=verbose, file=None):
            logging.getLogger("medsam").info("told")
            logging.getLogger("medsam").warning("warned")
        assert capsys.readouterr().err == said


def test_flags_of_every_verb_are_checked(tmp_path: Path) -> None:
    assert refused(medsam("doctor --threads 0"), "threads are 0")
    assert refused(medsam(f"doctor --log-file {tmp_path}/none/x.log"), "has no folder")
