"""A shell completes verbs and flags."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from command import medsam


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_and_flags(shell: str) -> None:
    script = medsam(f"completion {shell}").out
    assert "segment" in script
    assert "from-mask" in script
    assert medsam(f"completion {shell} --json").json == {"shell": shell, "script": script}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_understands_its_script() -> None:
    script = medsam("completion bash").out
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_another_shell_is_wrong_usage() -> None:
    ended = medsam("completion tcsh")
    assert (ended.code, ended.out) == (2, "")
