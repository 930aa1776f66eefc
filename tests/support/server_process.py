"""A server as a process, which can be killed and started again: FOLDER PROJECT [SETTINGS]; settings are in JSON.

What it imports is loaded once: a parent forks a server for each line that it reads, says "PID ADDRESS" and, when that
has ended, "ended CODE".
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx


class ServerProcess:
    """A served project on loopback.

    Args:
        folder: Of uploads, embeddings and the log; of the project too where no address is given.
        address: Of the project.
        more: Settings of the server.
    """

    def __init__(self, folder: Path, address: str | None = None, **more: object) -> None:
        self.log = folder / "server.log"
        folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._parent = subprocess.Popen(
                [sys.executable, __file__, str(folder), address or str(folder), json.dumps(more)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1, env=dict(os.environ),
            )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it, on a port of its own, and wait until it says where."""
        assert self._parent.stdin is not None
        self._parent.stdin.write("start\n")
        pid, _, self.opened = self._line().partition(" ")
        if not self.opened.startswith("http"):
            raise RuntimeError(self.log.read_text()[-2000:])
        self.pid = int(pid)
        parts = urlsplit(self.opened)
        self.base, self.port = f"http://{parts.netloc}", parts.port or 0
        self.token = parse_qs(parts.query)["token"][0]

    def client(self, timeout: float = 120) -> httpx.Client:
        """Somebody who is let in."""
        return httpx.Client(base_url=self.base, headers={"Authorization": f"Bearer {self.token}"}, timeout=timeout)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Wait for its end.

        Returns:
            Its exit code; the negative number of the signal that ended it.
        """
        return int(self._line().removeprefix("ended "))

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End it in peace, for good.

        Returns:
            Its exit code.
        """
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(60)
        return code

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()


def main(folder: Path, address: str, more: dict[str, Any]) -> None:
    from bright import bright_predictor
    from serving import scan_file

    from medsam.annotation.study.database import holds_project
    from medsam.annotation.study.project import create_project, open_project
    from medsam.jobs.options import IntensityOptions
    from medsam.jobs.project import add_scan
    from medsam.server.app import create_app
    from medsam.server.listen import choose_tokens, listen
    from medsam.server.settings import ServerSettings

    def serve() -> None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        fresh = not holds_project(address)
        with create_project(address) if fresh else open_project(address) as project:
            if fresh:
                add_scan(project, scan_file(folder / "scan.nii.gz"), intensity=IntensityOptions("MR"))
            tokens, file, token = choose_tokens("127.0.0.1", None)
            app = create_app(project, bright_predictor(), ServerSettings(folder, tokens, token_file=file, **more))
            listen(app, "127.0.0.1", 0, lambda told: print(os.getpid(), told, flush=True), token)

    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            serve()
            os._exit(0)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
