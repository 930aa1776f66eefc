"""The command in this process, as a user types it: medsam("segment ct.nii.gz --box 1,2,3,4 -o out")."""

from __future__ import annotations

import io
import json
import shlex
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from medsam.cli.app import run


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """The answer of a command with --json."""
        return json.loads(self.out)


def medsam(line: str, *words: object) -> Ended:
    """Run a line as the shell would split it, with further words as they are."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*shlex.split(line), *map(str, words)])
    return Ended(code, out.getvalue(), err.getvalue())


def refused(ended: Ended, *said: str) -> bool:
    """Whether a command ended as bad input does: code 1, one line, nothing answered; the line says all of this."""
    one_line = ended.err.startswith("medsam: ") and ended.err.count("\n") == 1
    return ended.code == 1 and one_line and not ended.out and all(text in ended.err for text in said)
