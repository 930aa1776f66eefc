"""The application: the project and the model behind /api/v1, and the protocols of other viewers beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from medsam import __version__
from medsam.annotation.study.project import Project
from medsam.errors import MedsamError
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.server import (
    cases,
    dicom_proxy,
    editing,
    embeddings,
    masks,
    measuring,
    monailabel,
    nninteractive,
    pacs,
    prompted,
    prompting,
    samapi,
    scores,
    studying,
)
from medsam.server.leases import Leases
from medsam.server.lifecycle import Lifecycle
from medsam.server.memory import tidy_memory
from medsam.server.metrics import Metrics
from medsam.server.monailabel_sessions import Sessions
from medsam.server.page import PAGE, PageFiles
from medsam.server.passing import passing_folder
from medsam.server.presence import Presence
from medsam.server.problems import install_problems
from medsam.server.scans import OpenScans
from medsam.server.schemas import Problem
from medsam.server.security import Doorkeeper
from medsam.server.settings import ServerSettings
from medsam.server.state import ServerState
from medsam.server.tokens import TokenBook
from medsam.server.worker import ModelWorker

SWEEP_SECONDS = 5.0
TIDY_SECONDS = 30.0
REFUSALS = (400, 401, 403, 404, 408, 409, 410, 413, 422, 428, 429, 501, 502, 503, 507)


def create_app(project: Project, predictor: Predictor, settings: ServerSettings) -> FastAPI:
    """Put a project and a model behind HTTP.

    Args:
        project: Open; who made it closes it, once the application has ended.
        predictor: The model, used by one thread for each of its devices.
        settings: How the server behaves.
    """
    metrics, life_of, tokens = Metrics(), Lifecycle(), TokenBook(settings.tokens, settings.token_file)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        worker = ModelWorker(settings.max_waiting, threads=predictor.devices, ahead_seconds=settings.ahead_seconds)
        metrics.watch(lambda: worker.waiting)
        cache = EmbeddingCache(settings.cache or settings.folder / "embeddings")
        presence = Presence(settings.idle_seconds, settings.live_seconds)
        app.state.jobs = prompting.Jobs()
        app.state.sessions = Sessions()
        app.state.leases = nninteractive.leases_of(settings)
        with passing_folder(settings.folder / "passing") as passing:
            scans = OpenScans(project)
            app.state.server = ServerState(project, predictor, settings, worker, scans, cache, presence, passing)
            resting = asyncio.create_task(_let_go(app.state.server))
            sweeping = asyncio.create_task(_sweep(app.state.leases, app.state.sessions, settings.idle_seconds))
            tidying = asyncio.create_task(_tidy())
            life_of.stage = "ready"
            yield
            life_of.stage = "stopping"
            for task in (resting, sweeping, tidying):
                task.cancel()
            await asyncio.to_thread(worker.close)

    app = FastAPI(
        title="openmedsam", version=__version__, lifespan=life, docs_url=None, redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        responses={status: {"model": Problem} for status in REFUSALS},
    )  # fmt: skip
    install_problems(app)
    ours = (cases, masks, measuring, editing, scores, prompting, prompted, embeddings, studying, pacs)
    for part in (*ours, monailabel, dicom_proxy, nninteractive, samapi):
        app.include_router(part.router)
    app.include_router(editing.codes)
    app.state.settings, app.state.metrics, app.state.life, app.state.tokens = settings, metrics, life_of, tokens
    app.add_api_route("/healthz", _alive, include_in_schema=False)
    app.add_api_route("/readyz", _ready, include_in_schema=False)
    app.add_api_route("/metrics", _metrics, include_in_schema=False)
    if (PAGE / "index.html").is_file():
        app.mount("/", PageFiles(), name="page")
    else:
        app.add_api_route("/", _greeting, include_in_schema=False)
    app.add_middleware(Doorkeeper, settings=settings, metrics=metrics, tokens=tokens, life=life_of)
    return app


async def _let_go(server: ServerState) -> None:
    """Let go, now and then, of what nobody asks for."""
    while True:
        await asyncio.sleep(server.settings.idle_seconds / 4)
        server.scans.rest(server.settings.idle_seconds)


async def _sweep(leases: Leases, sessions: Sessions, idle_seconds: float) -> None:
    """Let go of scans whose viewers are gone, also when nobody asks."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        leases.sweep()
        sessions.rest(idle_seconds)


async def _tidy() -> None:
    """Give memory back, now and then."""
    while True:
        await asyncio.sleep(TIDY_SECONDS)
        await asyncio.to_thread(tidy_memory)


async def _alive() -> dict[str, bool]:
    return {"ok": True}


async def _ready(request: Request) -> JSONResponse:
    """Ready while the server neither starts nor ends, the project answers, and there is room for another prompt."""
    life = cast(Lifecycle, request.app.state.life)
    if life.stage != "ready":
        return JSONResponse({"ok": False, "stage": life.stage}, 503, headers={"Retry-After": "5"})
    server = cast(ServerState, request.app.state.server)
    project = await asyncio.to_thread(_answers, server)
    room = server.worker.waiting < server.settings.max_waiting
    ready = project and room and server.worker.alive
    told = {"ok": ready, "stage": life.stage, "model": server.predictor.manifest.name, "project": project, "room": room}
    return JSONResponse(told, 200 if ready else 503, headers={} if ready else {"Retry-After": "5"})


def _answers(server: ServerState) -> bool:
    try:
        server.project.ping()
    except MedsamError:
        return False
    return True


async def _metrics(request: Request) -> Response:
    return Response(cast(Metrics, request.app.state.metrics).text(), media_type="text/plain; version=0.0.4")


async def _greeting() -> dict[str, str]:
    return {"name": "openmedsam", "version": __version__, "api": "/api/v1/openapi.json"}
