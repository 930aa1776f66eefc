"""What stands before every request: Host, Origin, token, size of the body; and what goes with every answer."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from http.cookies import SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medsam.errors import MedsamError
from medsam.server.lifecycle import Lifecycle
from medsam.server.metrics import Metrics
from medsam.server.problems import BodyTooLarge, problem
from medsam.server.settings import ServerSettings
from medsam.server.tokens import ROLES, Role, TokenBook, TokenHolder

COOKIE = "medsam_token"
TOKEN_PATH = re.compile(r"/qupath/([^/]+)(?:/case-([0-9]{1,9}))?(/sam/[a-z0-9/]*)")
OPEN_PATHS = frozenset({
    "/healthz", "/readyz", "/monailabel/auth/", "/monailabel/auth/token", "/nninteractive/healthz",
})  # fmt: skip
ADMIN_PATHS = frozenset({"/metrics"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
log = logging.getLogger("medsam.server")


class Refusal(MedsamError):
    """A request that is not let in."""


class BodyTooSlow(MedsamError):
    """A body stopped coming before its end."""


class _Stalled(Exception):
    """A client that takes nothing of its answer; no handler is to answer it."""


class Doorkeeper:
    """The outermost application: nothing reaches the others that is not allowed."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, metrics: Metrics, *, tokens: TokenBook, life: Lifecycle
    ) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._tokens, self._life = tokens, life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, start, status = secrets.token_hex(8), time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            try:
                await asyncio.wait_for(send(message), self._settings.stall_seconds)
            except TimeoutError:
                raise _Stalled from None

        try:
            refused = self._refuse(scope)
            if refused is not None:
                await refused(scope, receive, answer)
            else:
                await self._bounded(scope, receive, answer)
        except _Stalled:
            status = 408
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "none")  # the pattern: no id, no query
            self._metrics.count(scope["method"], route, status, seconds)
            told = {"request": request_id, "method": scope["method"], "route": route, "status": status}
            log.info(json.dumps(told | {"ms": round(seconds * 1000, 1)}))

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name_of(host) not in self._settings.hosts:
            told = Refusal(
                "a Host that is not this server", expected="the address that was opened", fix="open that one"
            )
            return problem(403, told)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            told = Refusal("a request from another site", expected="the server's own pages", fix="open them from here")
            return problem(403, told)
        if scope["path"] in OPEN_PATHS:
            return None
        in_path = _token_in_path(scope)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in query if name == "token"), None)
        if given is not None and scope["method"] == "GET" and self._tokens.holder(given) is not None:
            rest = urlencode([pair for pair in query if pair[0] != "token"])
            response = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            secure = scope.get("scheme") == "https"
            response.set_cookie(COOKIE, given, httponly=True, samesite="strict", secure=secure, path="/")
            return response
        who = self._tokens.holder(in_path or _token_of(headers))
        if who is None:
            told = Refusal("no valid token", expected="the token of the server", fix="open the address that it printed")
            return problem(401, told, headers={"WWW-Authenticate": "Bearer"})
        scope.setdefault("state", {}).update(annotator=who.name, role=who.role)
        return self._refuse_role(scope, who) or self._refuse_late(scope)

    def _refuse_role(self, scope: Scope, who: TokenHolder) -> Response | None:
        needed = needed_role(scope["method"], scope["path"])
        if ROLES.index(who.role) >= ROLES.index(needed):
            return None
        told = Refusal(f"a token of the role {who.role}", expected=f"the role {needed}", fix="ask who runs the server")
        return problem(403, told)

    def _refuse_late(self, scope: Scope) -> Response | None:
        """What is new is sent away from a server that is ending; what was finished may still be fetched."""
        if self._life.stage != "stopping" or scope["method"] in SAFE_METHODS:
            return None
        told = Refusal("a server that is ending", expected="one that runs", fix="try again in a few seconds")
        return problem(503, told, headers={"Retry-After": "5"})

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body while it streams, whatever its Content-Length says."""
        headers = Headers(scope=scope)
        is_json = headers.get("content-type", "application/json").startswith("application/json")
        json_bytes = self._settings.max_tile_bytes if scope["path"] == "/sam/" else self._settings.max_json_bytes
        most = json_bytes if is_json else self._settings.max_upload_bytes
        told = BodyTooLarge(f"a body of more than {most:,} bytes", expected="a smaller one", fix="crop or compress it")
        counted, started, whole = 0, False, False
        broken: tuple[int, MedsamError] | None = None
        declared = headers.get("content-length", "0")
        if re.fullmatch("[0-9]{1,18}", declared) is None:
            told = BodyTooLarge("a Content-Length that is no length", expected="bytes of the body", fix="send it right")
            await problem(400, told)(scope, receive, send)
            return
        if int(declared) > most:
            await problem(413, told)(scope, receive, send)
            return

        async def count() -> Message:
            nonlocal counted, whole, broken
            try:
                message = await asyncio.wait_for(receive(), None if whole else self._settings.stall_seconds)
            except TimeoutError:
                slow = BodyTooSlow("a body that stopped coming", expected="the rest of it", fix="send it again")
                broken = (408, slow)
                raise slow from None
            whole = whole or not message.get("more_body", False)
            counted += len(message.get("body", b""))
            if counted > most:
                broken = (413, told)
                raise told
            return message

        async def answer(message: Message) -> None:
            nonlocal started
            if broken and not started:
                return  # whatever a handler makes of the broken body is not what is answered
            started = True
            await send(message)

        try:
            await self._app(scope, count, answer)
        except (BodyTooLarge, BodyTooSlow):
            if not broken:
                raise
        if broken and not started:
            await problem(*broken, headers={"Connection": "close"})(scope, receive, send)


def needed_role(method: str, path: str) -> Role:
    """The role that a request needs: who only looks asks with GET, and what is not told here must at least annotate."""
    if path in ADMIN_PATHS:
        return "admin"
    return "read" if method in SAFE_METHODS else "annotate"


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _token_in_path(scope: Scope) -> str | None:
    """Take the token out of /qupath/TOKEN[/case-3]/sam/..., the address of a client that sends none otherwise."""
    found = TOKEN_PATH.fullmatch(scope["path"])
    if found is None:
        return None
    if found[2] is not None:
        scope.setdefault("state", {})["case_number"] = int(found[2])
    scope["path"] = found[3]
    scope["raw_path"] = found[3].encode()
    return found[1]


def _token_of(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    return cookie.value if cookie is not None else None
