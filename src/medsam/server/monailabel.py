"""The protocol of MONAI Label, as 3D Slicer's and OHIF's clients speak it, under /monailabel.

Image ids are our case ids; a name that a client chose for its upload is kept as a hash, since it may be a patient's.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Annotated, cast

import numpy as np
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from medsam import __version__
from medsam.annotation.study.project import ProjectCase, ProjectObject
from medsam.errors import InputFileError
from medsam.imaging.image import Image, Mask
from medsam.inference.volume.segment import Segmentation, segment
from medsam.inference.volume.spread import spread
from medsam.io.dicom.pacs_address import UID
from medsam.io.formats import read_image, read_mask
from medsam.io.suffixes import find_suffix
from medsam.jobs.project import read_current_mask
from medsam.server.annotating import mask_of, save_state
from medsam.server.cases import add_upload, new_upload
from medsam.server.masks import write_export
from medsam.server.monailabel_messages import (
    answer_of,
    file_of,
    named_labels,
    prompts_of,
    read_form,
    read_params,
    read_raw_labels,
    read_series_uids,
    ready_image,
    scribbled_prompts,
)
from medsam.server.monailabel_sessions import Sessions
from medsam.server.problems import NotFound
from medsam.server.state import Annotator, Server, ServerState, note_answer, note_work
from medsam.server.strokes import settle
from medsam.server.tokens import TokenBook

router = APIRouter(prefix="/monailabel", tags=["monailabel"], include_in_schema=False)
SCRIBBLES = "medsam_scribbles"
MODELS = {"medsam_2d": 2, "medsam_3d": 3, SCRIBBLES: 3}
RESULTS = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd")
NAME = "name_sha256"  # of a case's options
RAW = ".bin"  # OHIF's labels, as they lie in memory


def _sessions(request: Request) -> Sessions:
    return cast(Sessions, request.app.state.sessions)


def _case(server: ServerState, image: str) -> ProjectCase:
    hashed = hashlib.sha256(image.encode()).hexdigest()
    for case in server.project.cases():
        if image == case.id or case.options.get(NAME) == hashed:
            return case
    if UID.fullmatch(image):  # OHIF names a series
        for case in server.project.cases():
            if image in read_series_uids(Path(case.source)):
                return case
    raise NotFound("an image that is not there", expected="the id of an image", fix="ask for the datastore")


@router.get("/auth/")
def auth() -> dict[str, bool]:
    """Tell that a token is needed."""
    return {"enabled": True}


@router.post("/auth/token")
def auth_token(request: Request, password: Annotated[str, Form()]) -> JSONResponse:
    """Take the server's token as the password of any user."""
    if cast(TokenBook, request.app.state.tokens).holder(password) is None:
        return JSONResponse({"detail": "the password is not the server's token"}, 401)
    return JSONResponse({"access_token": password, "token_type": "bearer"})


@router.get("/auth/token/valid")
def auth_valid() -> dict[str, bool]:
    """Answer where the token was good."""
    return {"enabled": True}


@router.get("/info/")
def info(server: Server) -> dict[str, object]:
    """What there is."""
    labels = sorted(
        {item.name for case in server.project.cases() for item in server.project.objects(case.id)} | {"object"}
    )
    models: dict[str, dict[str, object]] = {
        name: {
            "type": "scribbles" if name == SCRIBBLES else "deepgrow", "labels": labels, "dimension": dimension, "config": {},
            "description": f"{server.predictor.manifest.name}: {' and '.join(server.predictor.manifest.prompts)} prompts",
        } for name, dimension in MODELS.items()
    }  # fmt: skip
    return {
        "name": "openmedsam", "description": "Segment medical images from prompts", "version": __version__,
        "labels": labels, "models": models, "trainers": {}, "scoring": {}, "train_stats": {},
        "strategies": {"first": {"description": "The first case that nobody has finished"}},
        "datastore": _stats(server),
    }  # fmt: skip


def _stats(server: ServerState) -> dict[str, object]:
    cases = server.project.cases()
    done = sum(case.status in ("done", "reviewed") for case in cases)
    return {"total": len(cases), "completed": done, "label_tags": {}, "label_names": {}, "train": []}


@router.get("/datastore/")
def datastore(server: Server, output: str = "stats") -> dict[str, object]:
    """The images and whose labels they have."""
    if output != "all":
        return _stats(server)
    objects = {
        case.id: {
            "image": {"ext": find_suffix(case.source), "info": {}},
            "labels": {who: {"ext": ".nrrd", "info": {}} for who in server.project.annotators(case.id)},
        } for case in server.project.cases()
    }  # fmt: skip
    return {"name": "openmedsam", "description": "", "objects": objects}


async def _kept(server: ServerState, form: FormData, name: str, *, mask: bool = False) -> Path:
    """A file of a form among what passes, once a process of its own has read it."""
    sent = form.get(name)
    if not isinstance(sent, UploadFile):
        raise InputFileError(f"a form without {name}", expected="a file", fix="send one")
    raw = mask and (sent.filename or "").endswith(RAW)
    path = new_upload(server.passing, "x.nii" if raw else sent.filename or "", "read_mask" if mask else "read_image")
    path = path.with_suffix(RAW) if raw else path
    try:
        with path.open("wb") as file:
            while chunk := await sent.read(1 << 20):
                file.write(chunk)
        if not raw:
            await run_in_threadpool(server.check_upload, path, mask=mask)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


@router.put("/session/")
async def open_session(request: Request, server: Server, me: Annotator) -> dict[str, object]:
    """Keep a scan for a while."""
    path = await _kept(server, await read_form(request), "files")
    settings = server.settings
    session = _sessions(request).add(path, me, most=settings.max_sessions, idle_seconds=settings.idle_seconds)
    return {"session_id": session, "session_info": {"expiry": int(settings.idle_seconds)}}


@router.get("/session/{session}")
def read_session(request: Request, session: str, me: Annotator) -> dict[str, object]:
    """Whether a session is open."""
    _sessions(request).find(session, me)
    return {"session_id": session}


@router.delete("/session/{session}")
def end_session(request: Request, session: str, me: Annotator) -> dict[str, object]:
    """End a session."""
    _sessions(request).drop(session, me)
    return {"session_id": session}


@router.put("/datastore/")
@router.put("/datastore/image")
async def put_image(request: Request, server: Server, image: str = "") -> dict[str, str]:
    """Add an image to the project; the client may go on naming it as it did."""
    path = await _kept(server, await read_form(request), "file")
    extra = {NAME: hashlib.sha256(image.encode()).hexdigest()}
    return {"image": (await add_upload(server, path, **extra)).id}


@router.get("/datastore/image")
@router.head("/datastore/image")
def get_image(request: Request, server: Server, me: Annotator, image: str) -> FileResponse:
    """The file of an image; who loads it begins to look at it."""
    case = _case(server, image)
    path = Path(case.source)
    if not path.is_file():
        raise NotFound(
            "an image that is no single file", expected="a file", fix="load the DICOM series from its archive"
        )
    if request.method == "GET":
        note_work(server, case.id, me, "marking")
    return FileResponse(path, filename=f"case-{case.number}{find_suffix(path)}")


@router.get("/datastore/image/info")
def image_info(server: Server, image: str) -> dict[str, object]:
    """How a case stands."""
    case = _case(server, image)
    return {"name": f"case-{case.number}", "shape": list(case.shape), "status": case.status}


@router.get("/datastore/label/info")
def label_info(server: Server, label: str, tag: str = "") -> dict[str, object]:
    """The names of the objects of a case."""
    del tag
    objects = server.project.objects(_case(server, label).id)
    return {"label_info": [{"name": item.name, "idx": item.label} for item in objects]}


@router.put("/datastore/label")
async def put_label(request: Request, server: Server, me: Annotator, image: str) -> dict[str, str]:
    """Save a label map as the state that the annotator stands at."""
    case = _case(server, image)
    form = await read_form(request)
    path = await _kept(server, form, "label", mask=True)
    named = named_labels(read_params(form.get("params")))

    def save() -> None:
        grid = server.scans.open(case).stored.grid
        mask = read_raw_labels(path, grid) if path.suffix == RAW else read_mask(path, reference=grid)
        known = {item.label: item for item in server.project.objects(case.id)}
        for label, name in named.items():
            item = known.get(label, ProjectObject(label, name, None, None))
            server.project.set_object(case.id, replace(item, name=name))
        head = server.project.head(case.id, me)
        _, locked = mask_of(server, case, head.revision)  # what was drawn here by hand stays so for the model
        save_state(
            server, case, me, mask.labels, seen=head.version, kind="import", event={"by": "monailabel"}, locked=locked
        )

    try:
        await run_in_threadpool(save)
    finally:
        path.unlink(missing_ok=True)
    return {"image": case.id, "label": case.id}


@router.get("/datastore/label")
def get_label(server: Server, me: Annotator, label: str, tag: str = "") -> FileResponse:
    """The mask of an annotator; any other tag means one's own."""
    case = _case(server, label)
    who = tag if tag in server.project.annotators(case.id) else me
    mask = read_current_mask(server.project, case, who, server.scans.open(case).stored)
    return file_of(mask, ".nrrd", f"case-{case.number}")


@router.post("/activelearning/{strategy}")
def next_sample(server: Server, strategy: str) -> dict[str, object]:
    """The first case that is not finished; nothing where all are."""
    del strategy
    for case in server.project.cases():
        if case.status in ("new", "in work"):
            return {"id": case.id, "name": f"case-{case.number}{find_suffix(case.source)}"}
    return {}


@dataclass(frozen=True)
class _Asked:
    """What a client wants segmented."""

    model: str
    params: Mapping[str, object]
    case: ProjectCase | None
    scan: Path | None
    scribbles: Path | None


@router.post("/infer/{model}")
async def infer(
    *, request: Request, server: Server, me: Annotator, model: str, image: str = "", session_id: str = "", output: str = ""
) -> Response:  # fmt: skip
    """Segment from points, a box or scribbles, in the slice or in the volume."""
    if model not in MODELS:
        raise NotFound("a model that is not there", expected=", ".join(MODELS), fix="choose one of them")
    form = await read_form(request)
    scan = _sessions(request).find(session_id, me) if session_id else None
    case = None if scan else _case(server, image)
    scribbles = await _kept(server, form, "label", mask=True) if model == SCRIBBLES else None
    asked = _Asked(model, read_params(form.get("params")), case, scan, scribbles)
    whose, asked_at = case.id if case else session_id, time.monotonic()
    try:
        if MODELS[model] == 2:
            future = server.worker.prompt(whose, (me, model), lambda: _answer(server, asked))
        else:  # many slices, between which prompts pass
            future = server.worker.job(whose, lambda: _answer(server, asked))
        found = cast(Segmentation, await asyncio.wrap_future(future))
        if case is not None:
            await run_in_threadpool(note_answer, server, case.id, me, asked_at)
    finally:
        if scribbles is not None:
            scribbles.unlink(missing_ok=True)
    named = str(asked.params.get("label") or "object")
    told = {"label_names": {named: 1}, "latencies": dict(found.seconds)}
    if output == "json":
        return JSONResponse(told)
    if output == "dicom_seg":
        return await run_in_threadpool(_dicom_seg, server.passing, found.mask, named, case)
    suffix = str(asked.params.get("result_extension", ".nii.gz"))
    plain = asked.params.get("result_compress") is False
    suffix = suffix if suffix in RESULTS else ".nii.gz"
    return await run_in_threadpool(answer_of, found.mask, suffix, told, output, plain=plain)


def _answer(server: ServerState, asked: _Asked) -> Segmentation:
    def progress(done: int, total: int | None) -> None:
        del done, total
        if MODELS[asked.model] == 3:
            server.worker.give_way()

    image = ready_image(read_image(asked.scan), server.settings) if asked.scan else _ready_case(server, asked.case)
    clicks = "point" in server.predictor.manifest.prompts
    if asked.scribbles is not None:
        drawn, before = scribbled_prompts(read_mask(asked.scribbles, reference=image.grid))
        prompts = settle(drawn, before, clicks=clicks)
        return spread(
            server.predictor, image, prompts, previous=Mask(before, image.grid), cache=server.cache, progress=progress
        )
    prompts = prompts_of(asked.params, MODELS[asked.model], image.grid.shape)
    if MODELS[asked.model] == 2 or any(prompt.box_3d for prompt in prompts):
        return segment(server.predictor, image, prompts, cache=server.cache, progress=progress)
    settled = settle(prompts, np.zeros(image.grid.shape, np.uint8), clicks=clicks)
    return spread(server.predictor, image, settled, cache=server.cache, progress=progress)


def _dicom_seg(place: Path, mask: Mask, name: str, case: ProjectCase | None) -> Response:
    """A mask as DICOM SEG, which takes the patient's attributes from the case's own series."""
    if case is None:
        raise NotFound("a session's scan as DICOM SEG", expected="a case of the project", fix="add the series first")
    path = write_export(place, replace(mask, names={1: name}), case, "dicom-seg")
    return FileResponse(
        path, media_type="application/dicom", filename=path.name, background=BackgroundTask(rmtree, path.parent)
    )


def _ready_case(server: ServerState, case: ProjectCase | None) -> Image:
    scan = server.scans.open(cast(ProjectCase, case))
    return scan.image if scan.bounds is not None else ready_image(scan.stored, server.settings)
