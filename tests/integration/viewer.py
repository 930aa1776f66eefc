"""The built OHIF viewer on loopback in front of an Orthanc, same origin, for a headless Chromium."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

CONFIG = """window.config = {
  routerBasename: '/', extensions: [], modes: [], showStudyList: true, useSharedArrayBuffer: 'FALSE',
  investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'dicomweb',
  dataSources: [{ namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: { friendlyName: 'test', name: 'test', wadoUriRoot: '/dicom-web', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web',
      qidoSupportsIncludeField: false, imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true } }],
};"""
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
COPIED = ("Content-Type", "Content-Location")


class Viewer:
    """Serves OHIF's files and passes /dicom-web through to the archive with its credentials."""

    def __init__(self, dist: Path, archive: str, credentials: tuple[str, str]) -> None:
        self.failed: list[str] = []
        viewer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.startswith("/dicom-web"):
                    headers = {key: value for key, value in self.headers.items() if key.lower() in ("accept",)}
                    answer = requests.get(archive + self.path, headers=headers, auth=credentials, timeout=30)
                    if not answer.ok:
                        viewer.failed.append(f"{answer.status_code} {self.path}")
                    self.reply(
                        answer.status_code,
                        answer.content,
                        {k: answer.headers[k] for k in COPIED if k in answer.headers},
                    )
                    return
                name = self.path.partition("?")[0].lstrip("/")
                if name == "app-config.js":
                    self.reply(200, CONFIG.encode(), {"Content-Type": "text/javascript"})
                    return
                file = dist / name
                if not name or not file.is_file():
                    file = dist / "index.html"
                self.reply(200, file.read_bytes(), {"Content-Type": TYPES.get(file.suffix, "application/octet-stream")})

            def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(code)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Viewer:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
