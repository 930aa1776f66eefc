"""A server in this process over a small project: a bright block in 6 slices of 40 x 48."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import nibabel
import numpy as np
from bright import bright_predictor
from fastapi import FastAPI
from fastapi.testclient import TestClient

from medsam.annotation.study.label_runs import decode_runs
from medsam.annotation.study.project import Project, create_project, open_project
from medsam.inference.predictor import Predictor
from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan
from medsam.server.app import create_app
from medsam.server.settings import ServerSettings
from medsam.server.tokens import TokenHolder, hash_token

TOKEN, OTHER = "token-of-ana-0123456789", "token-of-bob-0123456789"
SHAPE = (6, 40, 48)
BLOCK = (slice(1, 5), slice(10, 20), slice(12, 30))
AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])


def block() -> np.ndarray:
    values = np.zeros(SHAPE, np.int16)
    values[BLOCK] = 200
    return values


def scan_file(path: Path, values: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image((block() if values is None else values).T, AFFINE), path)
    return path


def settings_of(folder: Path, **more: object) -> ServerSettings:
    tokens = {hash_token(TOKEN): TokenHolder("ana"), hash_token(OTHER): TokenHolder("bob")}
    hosts = frozenset({"127.0.0.1", "localhost", "testserver"})
    return replace(ServerSettings(folder, tokens, hosts=hosts), **more)


@dataclass
class Served:
    """A server and a client that is let in."""

    client: TestClient
    project: Project
    app: FastAPI
    case: str

    def head(self, token: str = TOKEN) -> dict[str, object]:
        return self.client.get(f"/api/v1/cases/{self.case}/head", headers=bearer(token)).json()


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def serve(folder: Path, predictor: Predictor | None = None, **more: object) -> Iterator[Served]:
    """Open or make the project of a folder and put it behind HTTP."""
    place = folder / "project"
    fresh = not place.exists()
    with create_project(place) if fresh else open_project(place) as project:
        if fresh:
            add_scan(project, scan_file(folder / "scan.nii.gz"), intensity=IntensityOptions("MR"))
        app = create_app(project, predictor or bright_predictor(), settings_of(place, **more))
        with TestClient(app, headers=bearer(), raise_server_exceptions=False) as client:
            yield Served(client, project, app, project.cases()[0].id)


def unpack_runs(mask: dict[str, object]) -> np.ndarray:
    flat = np.zeros(int(mask["height"]) * int(mask["width"]), bool)
    for start, length in np.array(mask["runs"], int).reshape(-1, 2):
        flat[start : start + length] = True
    return flat.reshape(mask["height"], mask["width"])


async def at_once(app: FastAPI, requests: list[tuple[str, str, dict[str, object]]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=bearer()) as client:
        return list(await asyncio.gather(*(client.request(m, path, **more) for m, path, more in requests)))


def prompt(served: Served, version: int | None = None, token: str = TOKEN, **more: object):
    body = {"slice": 2, "box": [10, 8, 32, 22], "label": 1, "save": version is not None} | more
    headers = bearer(token) | ({} if version is None else {"If-Match": f'"v{version}"'})
    return served.client.post(f"/api/v1/cases/{served.case}/prompts", json=body, headers=headers)


def passing_files(served: Served) -> list[Path]:
    """What the server keeps of what is sent and not of the project."""
    return [file for file in served.app.state.server.passing.iterdir() if file.name != ".lock"]


def whole_mask(served: Served) -> np.ndarray:
    return decode_runs(served.client.get(f"/api/v1/cases/{served.case}/mask").content).unfold()
