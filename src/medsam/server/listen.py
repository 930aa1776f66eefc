"""Listening: the address that is printed once, connections that may not dawdle, and a server that ends in peace."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from medsam.errors import DataError
from medsam.server.lifecycle import Lifecycle, drain
from medsam.server.memory import settle_memory
from medsam.server.prompting import Jobs
from medsam.server.settings import ANNOTATOR, LOOPBACK, ServerSettings
from medsam.server.state import ServerState
from medsam.server.tokens import TokenHolder, default_token_file, hash_token, read_tokens

MAX_CONNECTIONS = 512  # more are answered with 503
INTERRUPTED = 130  # the exit code of a shell's Ctrl-C
CUT_SECONDS = 10.0  # at the end, for a batch of slices that runs, and for answers that are still fetched
LAST_SECONDS = 60.0  # after which the process ends whatever a thread of it waits for, as a database that others lock
UNREAD_SECONDS = 60  # after which the system drops a connection whose peer takes nothing


def choose_tokens(host: str, token_file: Path | None) -> tuple[Mapping[str, TokenHolder], Path | None, str | None]:
    """The tokens that open the server.

    Args:
        host: Where it listens.
        token_file: As read_tokens; without it a random one is made for this run on loopback, and elsewhere the file is
            taken that medsam serve token writes.

    Returns:
        Hashed token to holder; the file, None without one; and the random one in clear, None where a file gives them.

    Raises:
        DataError: another host than loopback without a token file, or a bad or empty file.
    """
    if token_file is None and host not in LOOPBACK and default_token_file().is_file():
        token_file = default_token_file()
    if token_file is not None:
        tokens = read_tokens(token_file)
        if not tokens:
            raise DataError(
                f"the token file {token_file} is empty", expected="a token", fix="run medsam serve token new NAME"
            )
        return tokens, token_file, None
    if host not in LOOPBACK:
        raise DataError(
            f"host {host} without a token file",
            expected="--token-file, as others can reach that host",
            fix="run medsam serve token new NAME, and put TLS in front as docs/server.md says",
        )
    token = secrets.token_urlsafe(24)
    return {hash_token(token): TokenHolder(ANNOTATOR)}, None, token


class PromptProtocol(H11Protocol):
    """HTTP on a connection that is closed where the head of a request does not come whole in stall_seconds."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Bytes of it."""
        super().data_received(data)
        waiting = self.cycle is None or self.cycle.response_complete
        if self._head is not None and not waiting:
            self._head.cancel()
            self._head = None
        elif self._head is None and waiting:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its end."""
        if self._head is not None:
            self._head.cancel()
        super().connection_lost(exc)

    def _expect(self) -> None:
        settings = cast(ServerSettings, cast(FastAPI, self.config.app).state.settings)
        self._head = self.loop.call_later(settings.stall_seconds, self._give_up)

    def _give_up(self) -> None:
        self._head = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.abort()


class EndingServer(uvicorn.Server):
    """A server that, told to end, first finishes what runs and sends away what is new; told twice, it ends at once."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        app = cast(FastAPI, self.config.app)
        life = cast(Lifecycle, app.state.life)
        if not self.started or life.stage != "ready":
            super().handle_exit(sig, frame)
            if life.stage == "stopping":
                self.force_exit = True
                logging.getLogger("uvicorn.error").setLevel(
                    logging.CRITICAL
                )  # of what is cut off there is no more to say
            return
        life.stage = "stopping"
        last = threading.Timer(LAST_SECONDS, end_at_once, [128 + sig])
        last.daemon = True
        last.start()
        asyncio.run_coroutine_threadsafe(self._end(app, sig, frame), self._loop)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and remember the loop for the signal that ends it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def _end(self, app: FastAPI, sig: int, frame: FrameType | None) -> None:
        worker = cast(ServerState, app.state.server).worker
        await drain(lambda: worker.busy)
        cast(Jobs, app.state.jobs).stop()  # what runs still saves nothing, and whoever follows it is told so
        worker.close(0)
        await drain(lambda: worker.busy, CUT_SECONDS)
        super().handle_exit(sig, frame)


def listen(app: FastAPI, host: str, port: int, tell: Callable[[str], None], token: str | None) -> None:
    """Serve until interrupted; what runs then is finished first.

    Args:
        app: From create_app.
        host: Where to listen.
        port: 0 takes a free one.
        tell: Called with the address, once it is listened at.
        token: Put into the address.

    Raises:
        DataError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise DataError(
            f"port {port} of {host} cannot be had ({error.strerror})", expected="a free port", fix="pass another --port"
        ) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections take it over
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    name = f"[{host}]" if ":" in host else host
    query = f"/?token={token}" if token else "/"
    config = uvicorn.Config(
        app, access_log=False, ws="none", log_level="warning", server_header=False, proxy_headers=False, http=PromptProtocol,
        timeout_keep_alive=15, timeout_graceful_shutdown=int(CUT_SECONDS), h11_max_incomplete_event_size=64 << 10,
        limit_concurrency=MAX_CONNECTIONS,
    )  # fmt: skip
    settle_memory()
    tell(f"http://{name}:{listener.getsockname()[1]}{query}")
    server = EndingServer(config)
    with listener:
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            # A thread inside the model's library can be neither stopped nor left to Python's own end, which it would abort.
            if server.force_exit or _works(app):
                end_at_once(INTERRUPTED)
            raise


def end_at_once(code: int) -> None:
    """End the process, whatever its threads do; what was acknowledged is on the disk."""
    sys.stderr.write("medsam: interrupted; what was finished is kept\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _works(app: FastAPI) -> bool:
    """Whether a thread of the model is still there after the server has ended."""
    worker = cast(ServerState, app.state.server).worker
    return worker.alive or worker.busy
