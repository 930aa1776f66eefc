"""A DICOMweb server on loopback whose every answer can be exchanged for a hostile one."""

from __future__ import annotations

import io
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydicom
from dicom_phantom import Phantom, dataset

from medsam.io.dicom.web import TransferLimits

STUDY, SERIES = "1.2.3", "1.2.3.4"
Answer = Callable[[BaseHTTPRequestHandler], None]


def value(vr: str, *values: object) -> dict[str, object]:
    """An attribute of DICOM JSON."""
    return {"vr": vr, "Value": list(values)}


def series_row(count: int | None, series: str = SERIES) -> dict[str, object]:
    """A series as a search gives it."""
    row: dict[str, object] = {
        "0020000D": value("UI", STUDY), "0020000E": value("UI", series), "00080060": value("CS", "CT"),
        "0008103E": value("LO", "abdomen"),
    }  # fmt: skip
    if count is not None:
        row["00201209"] = value("IS", count)
    return row


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    kind: str = "application/dicom+json",
    status: int = 200,
    **headers: str,
) -> None:
    """A plain answer; a header of the name X_Y is sent as X-Y."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Connection", "close")  # else a client may ask again on a connection that ends
    handler.send_header("Content-Length", headers.pop("Content_Length", str(len(body))))
    for name, text in headers.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.end_headers()
    handler.wfile.write(body)


def send_json(handler: BaseHTTPRequestHandler, content: object) -> None:
    """An answer in JSON."""
    send(handler, json.dumps(content).encode())


def multipart(parts: list[bytes], boundary: str = "xyz", *, closed: bool = True) -> bytes:
    """Parts as one body."""
    joined = b"".join(
        b"--" + boundary.encode() + b"\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts
    )
    return joined + (b"--" + boundary.encode() + b"--\r\n" if closed else b"")


def send_parts(handler: BaseHTTPRequestHandler, parts: list[bytes], *, closed: bool = True) -> None:
    """A series as an archive sends it."""
    send(handler, multipart(parts, closed=closed), 'multipart/related; type="application/dicom"; boundary=xyz')


class HostilePacs:
    """What a server answers to a search, to a search for objects, to a fetch and to a store."""

    def __init__(self, parts: list[bytes]) -> None:
        self.search: Answer = lambda handler: send_json(handler, [series_row(len(parts))])
        self.instances: Answer = lambda handler: send_json(handler, [])
        self.fetch: Answer = lambda handler: send_parts(handler, parts)
        self.store: Answer = lambda handler: send_json(handler, {})
        self.received: list[bytes] = []
        self.port = 0

    @property
    def archive(self) -> str:
        return f"dicomweb://reader:hunter2@127.0.0.1:{self.port}/dicom-web"

    @property
    def address(self) -> str:
        return f"{self.archive}/studies/{STUDY}/series/{SERIES}"


@contextmanager
def serve(pacs: HostilePacs) -> Iterator[HostilePacs]:
    """Let it answer on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            chosen = pacs.instances if path.endswith("/instances") else pacs.search
            self._answer(pacs.fetch if path.endswith(f"/series/{SERIES}") else chosen)

        def do_POST(self) -> None:
            pacs.received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(pacs.store)

        def _answer(self, answer: Answer) -> None:
            self.close_connection = True
            with suppress(OSError):  # the client hangs up on what it does not want
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    pacs.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        server.server_close()


LIMITS = TransferLimits(
    answer_bytes=1 << 20, series_bytes=8 << 20, instance_bytes=1 << 20, instances=50,
    seconds=6, idle_seconds=2.5, idle_bytes=1024,
)  # fmt: skip


MULTIPART = 'multipart/related; type="application/dicom"; boundary=xyz'


def encode(ds: pydicom.Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def slices(count: int = 3, **changes: object) -> list[bytes]:
    """Slices of the series that the address names."""
    found = []
    for k in range(count):
        ds = dataset(Phantom(rows=32, columns=24), k)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, SERIES
        for name, changed in changes.items():
            setattr(ds, name, changed)
        found.append(encode(ds))
    return found


def drip(head: bytes, piece: bytes) -> Answer:
    """A piece every fifth of a second, for ever."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while True:
            handler.wfile.write(piece)
            time.sleep(0.2)

    return answer


def flood(kind: str, piece: bytes, head: bytes = b"") -> Answer:
    """The same piece as fast as it goes, for ever."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + head)
        while True:
            handler.wfile.write(piece * max(1, (1 << 16) // len(piece)))

    return answer


def bomb(kind: str, coding: str, head: bytes = b"", size: int = 1 << 30) -> Answer:
    """A body that unfolds to `size` zeros."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
        zeros = bytes(1 << 20)
        packed = packer.compress(head)
        packed += b"".join(packer.compress(zeros) for _ in range(size >> 20)) + packer.flush()
        send(handler, packed, kind, Content_Encoding=coding)

    return answer


def says(body: bytes, kind: str = "application/dicom+json", status: int = 200, **headers: str) -> Answer:
    return lambda handler: send(handler, body, kind, status, **headers)


def gives(content: object) -> Answer:
    return lambda handler: send_json(handler, content)


def raw(content: bytes) -> Answer:
    return lambda handler: (handler.wfile.write(content), None)[1]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"


GOOD = slices()
