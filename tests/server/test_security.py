"""Who is let in and what is refused before anything is read."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from dicom_phantom import Phantom, write_series
from fastapi import FastAPI
from serving import OTHER, TOKEN, Served, at_once, bearer, passing_files, serve
from starlette.routing import BaseRoute
from starlette.types import Message

from medsam.jobs.project import add_scan
from medsam.server.security import OPEN_PATHS
from medsam.server.tokens import ROLES, TokenHolder, hash_token


@pytest.fixture
def served(tmp_path: Path):
    with serve(tmp_path, max_json_bytes=2000, max_upload_bytes=5000) as one:
        yield one


def test_nothing_but_health_answers_without_a_token(served: Served) -> None:
    served.client.headers.pop("authorization")
    for path in ("/", "/api/v1/cases", f"/api/v1/cases/{served.case}/mask", "/metrics", "/api/v1/openapi.json"):
        answer = served.client.get(path)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer", path
        assert served.client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert served.client.get("/healthz").status_code == 200


def test_the_opened_address_sets_a_cookie_that_scripts_cannot_read(served: Served) -> None:
    served.client.headers.pop("authorization")
    opened = served.client.get("/?token=" + TOKEN + "&a=1", follow_redirects=False)
    assert (opened.status_code, opened.headers["location"]) == (303, "/?a=1")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert served.client.get("/api/v1/cases").status_code == 200
    served.client.cookies.clear()
    assert served.client.get("/?token=wrong", follow_redirects=False).status_code == 401
    assert served.client.post("/api/v1/cases?token=" + TOKEN).status_code == 401


def test_forged_hosts_and_origins_are_refused(served: Served) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1", "evil.example:8000"):
        assert served.client.get("/api/v1/cases", headers={"Host": host}).status_code == 403, host
    assert served.client.get("/api/v1/cases", headers={"Host": "127.0.0.1:9"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://testserver:99", "http://testserver.evil.example"):
        assert served.client.get("/api/v1/cases", headers={"Origin": origin}).status_code == 403, origin
    assert served.client.get("/api/v1/cases", headers={"Origin": "http://testserver"}).status_code == 200


def test_every_answer_carries_strict_headers_and_an_id(served: Served) -> None:
    for path in ("/healthz", "/api/v1/cases", "/nowhere"):
        headers = served.client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and len(headers["x-request-id"]) == 16
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("case", ["..", "..%2f..%2fetc%2fpasswd", "%2e%2e", "0" * 32, "A" * 32, "x\x00", "a" * 5000])
def test_ids_that_are_none_lead_nowhere(served: Served, case: str) -> None:
    for tail in ("", "/mask", "/slices/stored/0", "/export?format=nifti", "/jobs/../../x"):
        answer = served.client.get(f"/api/v1/cases/{case}{tail}".replace("\x00", "%00"))
        assert answer.status_code in (404, 422), (tail, answer.status_code)


def test_bodies_are_counted_while_they_stream(served: Served, tmp_path: Path) -> None:
    path = f"/api/v1/cases/{served.case}/prompts"
    large = b'{"slice": 1, "points": [' + b" " * 3000 + b"]}"
    declared = served.client.post(path, content=large, headers={"Content-Type": "application/json"})
    assert declared.status_code == 413 and declared.json()["error"] == "BodyTooLarge"
    chunks = iter([b"x" * 1000] * 3)  # no Content-Length at all
    assert served.client.post(path, content=chunks, headers={"Content-Type": "application/json"}).status_code == 413
    streamed = served.client.post(
        "/api/v1/cases?name=a.nii",
        content=iter([b"x" * 3000] * 3),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert streamed.status_code == 413
    assert passing_files(served) == [] and not (tmp_path / "project" / "uploads").exists()


CANARIES = {
    "PatientName": "CANARYNAME^X", "PatientID": "CANARYID", "PatientBirthDate": "19111111", "PatientBirthTime": "111111",
    "OtherPatientIDs": "CANARYOTHER", "OtherPatientNames": "CANARYALIAS^Y", "PatientBirthName": "CANARYBORN^Z",
    "PatientMotherBirthName": "CANARYMOTHER^M", "PatientAddress": "CANARYSTREET 7", "PatientTelephoneNumbers": "+99777333111",
    "MilitaryRank": "CANARYRANK", "EthnicGroup": "CANARYGROUP", "Occupation": "CANARYJOB", "AdditionalPatientHistory": "CANARYHISTORY",
    "PatientComments": "CANARYCOMMENT", "PatientReligiousPreference": "CANARYFAITH", "MedicalRecordLocator": "CANARYRECORD",
    "AccessionNumber": "CANARYACC", "StudyID": "CANARYSTUDYID", "StudyDescription": "CANARYSTUDY", "StudyDate": "19121212",
    "SeriesDescription": "CANARYSERIES", "SeriesDate": "19131211", "InstitutionName": "CANARYHOUSE", "StationName": "CANARYSTATION",
    "InstitutionAddress": "CANARYTOWN", "InstitutionalDepartmentName": "CANARYWARD", "ReferringPhysicianName": "CANARYREF^R",
    "PerformingPhysicianName": "CANARYPERF^P", "OperatorsName": "CANARYOP^O", "RequestingPhysician": "CANARYASKED^A",
    "AdmissionID": "CANARYADMIT",
}  # fmt: skip
STEPS = (
    {"do": {"step": "reshape", "label": 1, "how": "grow", "by": 1.0}},
    {"do": {"step": "describe", "object": {"label": 1, "name": "liver"}}},
)


def use_everything(served: Served, case: str) -> list[httpx.Response]:
    """Ask every route of a case, and those of all GET routes with plausible parameters."""
    client, path, made = served.client, f"/api/v1/cases/{case}", []
    for token in (TOKEN, OTHER):
        body = {"slice": 0, "box": [1, 1, 30, 30], "save": True}
        made.append(client.post(f"{path}/prompts", json=body, headers=bearer(token) | {"If-Match": '"v0"'}))
    drawn = np.ones((32, 40), np.uint8).tobytes()
    octets = {"Content-Type": "application/octet-stream", "If-Match": '"v1"'}
    made.append(client.put(f"{path}/mask/stored/1", content=drawn, headers=octets))
    work = {"prompts": [{"label": 2, "slice": 1, "box": [2, 2, 20, 20]}]}
    made.append(client.post(f"{path}/jobs", json=work, headers={"If-Match": '"v2"'}))
    made.append(client.get(f"{path}/jobs/{made[-1].json()['id']}/events"))
    for tail, body in (
        ("activity", {"events": [{"phase": "review"}]}),
        ("consensus", {}),
        ("embeddings", {"slice": 1}),
    ):
        made.append(client.post(f"{path}/{tail}", json=body))
    made.append(client.put(f"{path}/status", json={"status": "done"}))
    for step in STEPS:
        made.append(
            client.post(f"{path}/steps", json=step, headers={"If-Match": client.get(f"{path}/head").headers["etag"]})
        )
    assert all(answer.status_code in (200, 202) for answer in made), [a.text[:200] for a in made if a.status_code > 202]
    for what in ("undo", "redo"):
        made.append(client.post(f"{path}/{what}", headers={"If-Match": client.get(f"{path}/head").headers["etag"]}))
    made += [client.get(f"{path}/export?format={name}") for name in ("nifti", "nrrd", "seg.nrrd", "coco", "npz")]
    for method, pattern in walk_routes(served.app.routes):
        if method == "GET" and not pattern.endswith("/export"):
            one = re.sub(
                r"\{(plane)\}", "stored", re.sub(r"\{(index|label)\}", "1", pattern.replace("{case_id}", case))
            )
            one = re.sub(r"\{[a-z_:]+\}", "0" * 32, one)
            extra = {"image": case} if pattern.endswith("/image") else {"label": case, "output": "all"}
            made.append(client.get(one, params=extra if "monailabel" in pattern else {}))
    return made


def test_no_patient_attribute_is_in_any_body_log_or_file_but_exports_to_dicom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="medsam")
    assert len(CANARIES) >= 30
    series = tmp_path / "CANARYFOLDER"
    phantom = Phantom(rows=32, columns=40, tags=(("WindowCenter", 50), ("WindowWidth", 400), *CANARIES.items()))
    write_series(series, phantom, lambda _: np.full((32, 40), 100))
    with serve(tmp_path) as served:
        case = add_scan(served.project, series)
        bodies = use_everything(served, case.id)
        assert len(bodies) > 50
        dicom = served.client.get(f"/api/v1/cases/{case.id}/export?format=dicom-seg")
        assert dicom.status_code == 200 and b"CANARYNAME^X" in dicom.content and b"CANARYID" in dicom.content
        next(series.iterdir()).unlink()
        served.app.state.server.scans._scans.clear()
        bodies.append(served.client.get(f"/api/v1/cases/{case.id}"))
        assert bodies[-1].status_code in (404, 422)
    said = b"".join(answer.content + str(answer.headers).encode() for answer in bodies) + caplog.text.encode()
    files = [path for path in (tmp_path / "project").rglob("*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    assert any(path.suffix == ".sqlite" for path in files) and len(kept) > 10_000
    for value in CANARIES.values():
        assert value.encode() not in said and value.encode() not in kept, value
    assert b"CANARYFOLDER" not in said
    assert TOKEN not in caplog.text and "token=" not in caplog.text and case.id not in caplog.text
    assert '"route": "/api/v1/cases/{case_id}/prompts"' in caplog.text


def test_more_prompts_than_may_wait_are_sent_away(tmp_path: Path) -> None:
    with serve(tmp_path, max_waiting=2) as served:
        import threading

        go = threading.Event()
        served.app.state.server.worker.job("x", go.wait)
        threading.Timer(0.8, go.set).start()
        path = f"/api/v1/cases/{served.case}/prompts"
        asked = [
            ("POST", path, {"json": {"slice": k % 6, "label": 1 + k // 6, "box": [5, 5, 30, 30]}}) for k in range(12)
        ]
        answers = asyncio.run(at_once(served.app, asked))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429} and len(refused) in (9, 10)
        assert refused[0].headers["retry-after"] == "1" and refused[0].json()["error"] == "QueueFull"
        assert bearer()


def walk_routes(routes: Sequence[BaseRoute]) -> list[tuple[str, str]]:
    """Every method and path that the application knows, included routers and hidden routes too."""
    found: list[tuple[str, str]] = []
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            found += walk_routes(inner.routes)
        elif getattr(route, "path", "") and hasattr(route, "methods"):
            found += [(method, route.path) for method in sorted(route.methods)]
    return found


def test_every_route_wants_its_role(tmp_path: Path) -> None:
    names = {role: f"token-of-{role}-0123456789" for role in ROLES}
    tokens = {hash_token(token): TokenHolder(role, role) for role, token in names.items()}
    with serve(tmp_path, tokens=tokens) as served:
        routes = walk_routes(served.app.routes)
        assert len(routes) > 45 and ("PUT", "/monailabel/session/") in routes and ("GET", "/metrics") in routes
        for method, pattern in routes:
            path = re.sub(r"\{case_id\}", served.case, pattern)
            path = re.sub(r"\{(plane)\}", "stored", re.sub(r"\{(index|label)\}", "1", path))
            path = re.sub(r"\{[a-z_:]+\}", "0" * 32, path)
            if pattern in OPEN_PATHS:
                continue
            needed = "admin" if pattern == "/metrics" else "read" if method in ("GET", "HEAD") else "annotate"
            statuses = {
                role: served.client.request(method, path, headers=bearer(token)).status_code
                for role, token in names.items()
            }
            allowed = {role for role, status in statuses.items() if status != 403}
            assert allowed == set(ROLES[ROLES.index(needed) :]), (method, pattern, statuses)
            assert served.client.request(method, path, headers={"Authorization": "Bearer no"}).status_code == 401


def test_a_role_is_asked_for_before_anything_is_read(tmp_path: Path) -> None:
    tokens = {hash_token(TOKEN): TokenHolder("eve", "read")}
    with serve(tmp_path, tokens=tokens) as served:
        refused = served.client.post(f"/api/v1/cases/{served.case}/prompts", content=b"no JSON")
        assert refused.status_code == 403
        assert refused.json()["got"] == "a token of the role read" and refused.json()["expected"] == "the role annotate"
        assert served.client.get("/api/v1/cases").status_code == 200
        assert served.client.request("PURGE", "/api/v1/cases").status_code == 403
        assert served.client.request("HEAD", "/").status_code != 403


def test_a_body_that_stops_coming_is_not_waited_for(tmp_path: Path) -> None:
    async def ask(app: FastAPI) -> list[Message]:
        told: list[Message] = []
        sent = iter([{"type": "http.request", "body": b"{", "more_body": True}])

        async def receive() -> Message:
            message = next(sent, None)
            return message if message is not None else await asyncio.Future()

        async def send(message: Message) -> None:
            told.append(message)

        headers = [(b"host", b"testserver"), (b"authorization", f"Bearer {TOKEN}".encode())]
        path = f"/api/v1/cases/{'0' * 32}/prompts"
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        await app(scope, receive, send)
        return told

    with serve(tmp_path, stall_seconds=0.05) as served:
        told = asyncio.run(ask(served.app))
        assert told[0]["status"] == 408 and b"stopped coming" in told[1]["body"]


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "²", "1" * 30, " "])
def test_a_content_length_that_is_none_is_refused(served: Served, length: str) -> None:
    path = f"/api/v1/cases/{served.case}/prompts"
    headers = {"Content-Length": length.encode("latin-1")}
    answer = served.client.post(path, content=b"{}", headers=headers)
    assert answer.status_code == 400 and "Content-Length" in answer.json()["got"]
