"""`medsam completion`: a script for the shell that completes verbs and flags."""

from __future__ import annotations

from typing import Literal

from medsam.cli.flags import ThisTerminal


def completion(shell: Literal["bash", "zsh", "fish"], /, *, terminal: ThisTerminal) -> None:
    """Print a script that completes verbs and flags in a shell.

    Args:
        shell: Which shell.
    """
    from medsam.cli.app import build_app

    script = build_app().meta.generate_completion(prog_name="medsam", shell=shell)
    terminal.answer({"shell": shell, "script": script}, script)
