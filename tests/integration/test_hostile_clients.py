"""Clients that dawdle, lie and send bombs: refused or bounded, and the server goes on."""

from __future__ import annotations

import gzip
import io
import signal
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess
from serving import block

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    one = ServerProcess(
        tmp_path_factory.mktemp("hostile") / "own" / "server", stall_seconds=2.0, read_memory_bytes=1 << 30
    )
    yield one
    assert one.stop() in (0, -15)
    assert "Traceback" not in one.log.read_text()


def resident_mib(server: ServerProcess) -> float:
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def connect(server: ServerProcess, data: bytes) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", server.port), timeout=120)
    one.sendall(data)
    return one


def head(server: ServerProcess, rest: str, method: str = "POST", path: str = "/api/v1/cases?name=a.nii") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n{rest}".encode()


def until_closed(one: socket.socket) -> bytes:
    said = b""
    with one:
        try:
            while more := one.recv(1 << 16):
                said += more
        except ConnectionResetError:
            pass
    return said


def status_of(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def test_clients_that_dawdle_are_let_go_while_others_are_answered(server: ServerProcess) -> None:
    before = resident_mib(server)
    octets = "Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n"
    silent = [connect(server, b"") for _ in range(40)]
    half = [connect(server, head(server, "X-Slow: ye")) for _ in range(40)]
    stuck = [connect(server, head(server, octets) + b"x" * 100) for _ in range(40)]
    with server.client() as client:
        assert client.get("/api/v1/cases").status_code == 200
        assert [until_closed(one) for one in silent + half] == [b""] * 80
        answers = [until_closed(one) for one in stuck]
        assert {status_of(said) for said in answers} == {408} and b"stopped coming" in answers[0]
        assert client.get("/readyz").status_code == 200
    assert resident_mib(server) - before < 100
    assert {file.name for file in (server.log.parent / "passing").rglob("*") if file.is_file()} == {".lock"}


def test_whoever_reads_nothing_holds_nobody_up(server: ServerProcess) -> None:
    with server.client() as client:
        case = client.get("/api/v1/cases").json()[0]["id"]
        path = f"/api/v1/cases/{case}/slices/stored/2"
        before = resident_mib(server)
        deaf = [connect(server, head(server, "\r\n", "GET", path) * 20) for _ in range(40)]
        for _ in range(10):
            assert client.get(path).status_code == 200
        assert resident_mib(server) - before < 100
        for one in deaf:
            one.close()
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("length", ["-5", "+5", "5, 6", "0x5", "9" * 40, "five"])
def test_lengths_that_are_none_are_refused(server: ServerProcess, length: str) -> None:
    one = connect(server, head(server, f"Content-Length: {length}\r\n\r\n") + b"12345")
    assert status_of(until_closed(one)) == 400


def test_bodies_of_another_length_than_they_say_harm_nobody(server: ServerProcess) -> None:
    body = b'{"status": "done"}'
    with server.client() as client:
        case = client.get("/api/v1/cases").json()[0]["id"]
        path = f"/api/v1/cases/{case}/status"
        longer = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        said = until_closed(connect(server, head(server, longer, "PUT", path) + body + b"smuggled / HTTP/1.1\r\n\r\n"))
        assert status_of(said) == 200 and b"HTTP/1.1 400" in said  # what follows is another request, and none
        shorter = longer.replace(str(len(body)), "500")
        one = connect(server, head(server, shorter, "PUT", path) + body)
        one.shutdown(socket.SHUT_WR)
        assert b"HTTP/1.1 200" not in until_closed(one)
        both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
        assert b"HTTP/1.1 2" not in until_closed(connect(server, head(server, both)))
        assert client.get("/readyz").status_code == 200


def nifti(shape: tuple[int, ...], voxels: bytes) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return bytes(header) + voxels


def zipped(entries: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, value in entries.items():
            bundle.writestr(name, value)
    return data.getvalue()


def test_bombs_and_paths_that_lead_out_are_refused_and_leave_nothing(server: ServerProcess) -> None:
    zeros = bytes(300 << 20)
    npy = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '<f8', 'fortran_order': False, 'shape': (40000, 40000, 40), }".ljust(117)
        + b"\n"
    )
    sent = {
        "a.nii.gz": gzip.compress(nifti((4, 4, 4), zeros), 1),
        "b.nii.gz": gzip.compress(nifti((30000, 30000, 4), b""), 1),
        "c.npz": zipped({"imgs.npy": npy}),
        "d.zip": zipped({"../../evil.dcm": b"x" * 200, "/etc/cron.d/evil": b"x", "a/../../b.dcm": b"DICM" * 50}),
        "e.zip": zipped({f"{n}.dcm": zeros[: 8 << 20] for n in range(40)}),
        "../../../../tmp/f.nii": nifti((3, 3, 3), b""),
        "g.exe": b"MZ",
        "h.nii\x00.gz": b"",
    }
    before, folder = resident_mib(server), server.log.parent
    with server.client() as client:
        for name, data in sent.items():
            answer = client.post(
                "/api/v1/cases", params={"name": name, "modality": "MR"}, content=data,
                headers={"Content-Type": "application/octet-stream"},
            )  # fmt: skip
            assert answer.status_code in (400, 413, 422), (name, answer.status_code, answer.text)
            assert str(folder) not in answer.text
        assert len(client.get("/api/v1/cases").json()) == 1
        good = nifti(block().shape[::-1], (block() + 1).astype("<i2").tobytes())
        kept = client.post(
            "/api/v1/cases", params={"name": "../x/good.nii", "modality": "MR"}, content=good,
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        assert kept.status_code == 201, kept.text
    assert len(list((folder / "uploads").iterdir())) == 1
    assert not [file for name in ("evil*", "good*") for file in folder.parents[1].rglob(name)]
    assert resident_mib(server) - before < 400


def test_a_token_in_an_address_is_logged_nowhere(server: ServerProcess) -> None:
    with server.client() as client:
        client.headers.pop("authorization")
        opened = client.get(f"/?token={server.token}&a=1", follow_redirects=False)
        assert opened.status_code == 303 and server.token not in opened.headers["location"]
        assert client.get("/api/v1/cases").status_code == 200
        assert client.get(f"/api/v1/nothing?token={server.token}", follow_redirects=True).status_code == 404
    log = server.log.read_text()
    assert '"route": "/api/v1/cases"' in log and server.token not in log and "token=" not in log
    for forged in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        with server.client() as client:
            assert client.get("/api/v1/cases", headers=forged).status_code == 403


def test_an_ending_server_first_finishes_what_it_took(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    with server.client() as client:
        case = client.get("/api/v1/cases").json()[0]["id"]
        work = {"prompts": [{"label": 1, "box_3d": [10, 8, 0, 32, 22, 5]}]}
        taken = client.post(f"/api/v1/cases/{case}/jobs", json=work, headers={"If-Match": '"v0"'})
        assert taken.status_code == 202
        server.signal(signal.SIGTERM)
        assert server.wait() in (0, -15)
    server.start()
    with server.client() as client:
        assert client.get(f"/api/v1/cases/{case}/head").json()["version"] == 1
    server.stop()
