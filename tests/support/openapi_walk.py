"""Requests made from an OpenAPI document by schemathesis, sent to a real server; what is answered with 500 is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from server_process import ServerProcess
from serving import block
from viewer_requests import Body, likely_bodies

from medsam.server.nninteractive_messages import pack_array

REFUSALS = (501, 503, 507)


@dataclass
class Walked:
    """What a walk found.

    Args:
        statuses: How often each status was answered.
        faults: Operation and body of answers of 500 and more that are no refusals.
        operations: How many there are.
        good: Operations that were answered with 2xx at least once.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    operations: int = 0
    good: set[str] = field(default_factory=set)

    def note(self, name: str, status: int, body: bytes) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        if status < 300:
            self.good.add(name)
        if status >= 500 and status not in REFUSALS:
            self.faults.append(f"{name}: {body[:300].decode('utf-8', 'replace')}")


class _Known:
    """Ids that make a request likely: the case, a session, a lease with a scan."""

    def __init__(self, client: httpx.Client, scan: bytes) -> None:
        self.client = client
        self.case = client.get("/api/v1/cases").json()[0]["id"]
        self._scan = scan

    def lease(self) -> str:
        """A new lease, on the scan of the case."""
        token = self.client.post("/nninteractive/claim").json()["lease_token"]
        headers = {"X-Lease-Token": token}
        sent = self.client.post("/nninteractive/set_image", content=pack_array(block()[None]), headers=headers)
        buffer = {"shape": list(block().shape), "dtype": "uint8"}
        named = self.client.post("/nninteractive/set_target_buffer", json=buffer, headers=headers)
        assert sent.status_code == named.status_code == 200, (sent.text, named.text)
        return token

    def session(self) -> str:
        """A new session on the scan of the case."""
        sent = self.client.put("/monailabel/session/", files={"files": ("scan.nii.gz", self._scan)})
        return str(sent.json()["session_id"])


def walk(server: ServerProcess, examples: int, document: Mapping[str, Any] | None = None) -> Walked:
    """Send about so many requests, spread over all operations; three of four to what is there.

    Args:
        server: With one case.
        examples: In all.
        document: The server's own without it.
    """
    found, scan = Walked(), (server.log.parent / "scan.nii.gz").read_bytes()
    with server.client() as client:
        known = _Known(client, scan)
        schema = schemathesis.openapi.from_dict(dict(document or client.get("/api/v1/openapi.json").json()))
        operations = [one.ok() for one in schema.get_all_operations()]
        found.operations = len(operations)
        for operation in operations:
            _walk_one(server, known, found, operation, -(-examples // len(operations)))
    return found


def _walk_one(server: ServerProcess, known: _Known, found: Walked, operation: Any, examples: int) -> None:
    name, client = f"{operation.method.upper()} {operation.path}", known.client
    scan = (server.log.parent / "scan.nii.gz").read_bytes()
    bodies = st.one_of(st.none(), likely_bodies(operation.path, scan), likely_bodies(operation.path, scan))
    viewer = operation.path.startswith("/nninteractive/")
    lease = known.lease() if viewer else None
    session = known.session() if "/infer/" in operation.path or "/session/{" in operation.path else None

    @seed(0)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    @given(case=operation.as_strategy(), body=bodies)
    def send(case: schemathesis.Case, body: Body | None) -> None:
        if found.statuses.total() % 4:
            _aim(case, known, lease, session, found.statuses.total())
        headers = {"Authorization": f"Bearer {server.token}"}
        if body is None:
            answer = case.call(base_url=server.base, headers=headers, timeout=60)
        else:
            path = case.formatted_path
            more = {**case.headers, **body.get("headers", {})}
            more = {key: value for key, value in more.items() if key.lower() != "content-type" or "files" not in body}
            answer = client.request(case.method, path, params=case.query, **{**body, "headers": more})
        found.note(name, answer.status_code, answer.content)
        if operation.path == "/nninteractive/claim" and answer.status_code == 200:
            client.post("/nninteractive/release", headers={"X-Lease-Token": answer.json()["lease_token"]})

    send()
    if lease is not None:
        client.post("/nninteractive/release", headers={"X-Lease-Token": lease})


def _aim(case: schemathesis.Case, known: _Known, lease: str | None, session: str | None, number: int) -> None:
    """Put ids of what is there into a request."""
    if "case_id" in case.path_parameters:
        case.path_parameters["case_id"] = known.case
        if "If-Match" in case.headers or "if-match" in case.headers:
            head = known.client.get(f"/api/v1/cases/{known.case}/head").headers["etag"]
            case.headers["If-Match"] = head
    if "model" in case.path_parameters:
        case.path_parameters["model"] = ("medsam_2d", "medsam_3d", "medsam_scribbles")[number % 3]
        case.query = {**(case.query or {}), "image": known.case, "session_id": ""}
    if "session" in case.path_parameters and session is not None:
        case.path_parameters["session"] = session
    for name in ("image", "label"):
        if case.query and name in case.query:
            case.query[name] = known.case
    if case.query and "session_id" in case.query and session is not None:
        case.query["session_id"] = session if number % 2 else ""
    if lease is not None:
        case.headers["X-Lease-Token"] = lease
