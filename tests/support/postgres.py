"""A PostgreSQL of Debian's on loopback, its cluster in a folder of its own, run by a user who is not root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "medsam", "canary-password-7315"


class Postgres:
    """A running cluster.

    Args:
        port: Where it listens.
        tools: Folder of its programs.
    """

    def __init__(self, port: int, tools: Path) -> None:
        self.port, self._tools, self._count = port, tools, 0

    def new_database(self) -> str:
        """The address of a new, empty database."""
        self._count += 1
        name = f"study{self._count}"
        words = [self._tools / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name]
        subprocess.run(words, check=True, env=os.environ | {"PGPASSWORD": PASSWORD})
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """Make a cluster, start it, and take it away."""
    tools = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
    if tools is None:
        raise RuntimeError("PostgreSQL is not installed; run make integration")
    bare = {"user": "postgres", "group": "postgres", "cwd": "/"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="medsam-pg-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    try:
        (folder / "password").write_text(PASSWORD)
        if bare:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(folder / "password", "postgres", "postgres")
        data = folder / "data"
        make = [tools, "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, **bare)
        settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
        ctl = [tools.with_name("pg_ctl"), "-D", data, "-w", "-t", "120", "-l", folder / "log"]
        subprocess.run([*ctl, "-o", settings, "start"], check=True, stdout=subprocess.DEVNULL, **bare)
        try:
            yield Postgres(port, tools.parent)
        finally:
            subprocess.run([*ctl, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, **bare)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
