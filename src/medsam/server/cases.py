"""Routes of /api/v1 that look at scans: cases, slices, thumbnails, objects, status."""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Header, Request, Response
from fastapi import Path as InPath
from PIL import Image as Picture
from starlette.concurrency import run_in_threadpool

from medsam.annotation.study.project import ProjectCase, ProjectObject
from medsam.errors import InputFileError
from medsam.io.suffixes import find_suffix, list_suffixes
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.pacs_cases import PACS
from medsam.jobs.project import add_scan
from medsam.server.problems import NotFound
from medsam.server.ranges import Part, answer_bytes
from medsam.server.scans import OpenScan, wire_values
from medsam.server.schemas import (
    CaseDetails,
    CaseView,
    Index,
    NamedObject,
    ObjectLock,
    ObjectView,
    PlaneName,
    PlaneView,
    StatusChange,
    WorkerView,
)
from medsam.server.state import Annotator, Case, Server, ServerState, note_work

router = APIRouter(prefix="/api/v1", tags=["cases"])
THUMBNAIL_PX = 192
FOREVER = "private, max-age=31536000, immutable"  # voxels of a fingerprint never change
Plane = Annotated[PlaneName, InPath()]
At = Annotated[Index, InPath()]
OCTETS: dict[str, object] = {"content": {"application/octet-stream": {}}}
PICTURE: dict[str, object] = {"content": {"image/png": {}}}


def _view(case: ProjectCase, working: Mapping[str, Sequence[tuple[str, float]]]) -> CaseView:
    own = [WorkerView(annotator=who, idle_seconds=round(idle, 1)) for who, idle in working.get(case.id, ())]
    return CaseView(id=case.id, number=case.number, shape=case.shape, status=case.status, working=own)


@router.get("/cases")
def list_all(*, server: Server) -> list[CaseView]:
    """The scans of the project, and who works in them now."""
    working = server.presence.working()
    return [_view(case, working) for case in server.project.cases()]


@router.put("/cases/{case_id}/presence")
def stay(*, case: Case, server: Server) -> list[WorkerView]:
    """Say that one looks at a case still, once in live_seconds; tells who else works in it. No act: who is idle leaves."""
    return _view(case, server.presence.working()).working


@router.delete("/cases/{case_id}/presence", status_code=204)
def leave(*, case: Case, server: Server, me: Annotator) -> None:
    """Say that one has closed a case."""
    server.presence.leave(case.id, me)


@router.post("/cases", status_code=201)
async def upload(
    *, request: Request, server: Server, name: str, modality: str | None = None, window: str | None = None
) -> CaseView:
    """Add a scan by sending its bytes; of the name only the suffix is kept."""
    path = await receive_file(request, server.passing, name)
    return _view(await add_upload(server, path, modality, window), {})


async def receive_file(request: Request, folder: Path, name: str, ability: str = "read_image") -> Path:
    """Write the body of a request to a new file in a folder.

    Raises:
        InputFileError: the name's suffix is of no format that can be read.
    """
    path = new_upload(folder, name, ability)
    try:
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def new_upload(folder: Path, name: str, ability: str = "read_image") -> Path:
    """A path of the server's own choice for an upload; the name given leads nowhere.

    Raises:
        InputFileError: the name's suffix is of no format that can be read.
    """
    suffix = find_suffix(re.sub(r"[^A-Za-z0-9.]", "", name)[-40:], ability)
    if not suffix:
        known = " ".join(list_suffixes(ability))
        raise InputFileError("an upload of unknown suffix", expected=f"one of {known}", fix="name it by its format")
    return folder / f"{secrets.token_hex(16)}{suffix}"


async def add_upload(
    server: ServerState, path: Path, modality: str | None = None, window: str | None = None, **extra: object
) -> ProjectCase:  # fmt: skip
    """Add an uploaded scan to the project, once a process of its own has read it; the file goes where that fails."""
    settings = server.settings
    intensity = IntensityOptions(modality or settings.modality, window or settings.window)
    kept = settings.folder / "uploads" / path.name

    def add() -> ProjectCase:
        try:
            server.check_upload(path)
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.rename(kept)
            return add_scan(server.project, kept, FileOptions(), intensity, extra=extra or None)
        except BaseException:
            path.unlink(missing_ok=True)
            kept.unlink(missing_ok=True)
            raise

    return await run_in_threadpool(add)


@router.get("/cases/{case_id}")
def details(*, case: Case, server: Server) -> CaseDetails:
    """One scan with its geometry."""
    scan = server.scans.open(case)
    grid, modality = scan.stored.grid, scan.stored.modality
    names: tuple[PlaneName, ...] = ("stored", "axial", "coronal", "sagittal")
    assert grid.affine is not None  # noqa: S101 - always set
    return CaseDetails(
        **_view(case, server.presence.working()).model_dump(), modality=modality.value if modality else None, rgb=scan.stored.is_rgb,
        window=scan.bounds, affine=grid.affine.tolist(), planes={name: _plane(scan, name) for name in names},
        annotators=server.project.annotators(case.id),
        pacs=server.settings.pacs is not None or PACS in case.options,
    )  # fmt: skip


def _plane(scan: OpenScan, name: PlaneName) -> PlaneView:
    axis = scan.axis(name)
    grid = scan.stored.grid
    order = [axis, *(i for i in range(3) if i != axis)]
    slices, height, width = (grid.shape[i] for i in order)
    spacing = grid.spacing_mm
    placed = None if spacing is None else (spacing[order[0]], spacing[order[1]], spacing[order[2]])
    return PlaneView(axis=axis, slices=slices, height=height, width=width, spacing_mm=placed)


@router.get("/cases/{case_id}/slices/{plane}/{index}", response_class=Response, responses={200: OCTETS, 206: OCTETS})
def slice_values(
    *, case: Case, server: Server, plane: Plane, index: At, wanted: Part
) -> Response:  # fmt: skip
    """Stored values of one slice, or a range of them: little-endian, row by row; X-Shape, X-Dtype, X-Spacing-Mm, X-Window."""
    tag = f'"{case.fingerprint[:32]}-{plane}-{index}"'
    headers = {"ETag": tag, "Cache-Control": FOREVER}
    if wanted.has(tag):
        return Response(status_code=304, headers=headers)
    scan = server.scans.open(case)
    axis = scan.axis(plane)
    if index >= scan.stored.values.shape[axis]:
        raise NotFound(
            f"slice {index}", expected=f"0 to {scan.stored.values.shape[axis] - 1}", fix="ask for one of them"
        )
    values = wire_values(np.take(scan.stored.values, index, axis=axis))
    headers |= {"X-Shape": ",".join(map(str, values.shape)), "X-Dtype": values.dtype.str.replace("|", "")}
    spacing = _plane(scan, plane).spacing_mm
    if spacing is not None:
        headers["X-Spacing-Mm"] = ",".join(f"{mm:.6g}" for mm in spacing)
    if scan.bounds is not None:
        headers["X-Window"] = ",".join(f"{bound:.6g}" for bound in scan.bounds)
    return answer_bytes(values.tobytes(), wanted, headers)


@router.get("/cases/{case_id}/thumbnail", response_class=Response, responses={200: PICTURE})
def thumbnail(*, case: Case, server: Server, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The middle slice as a small PNG."""
    headers = {"ETag": f'"{case.fingerprint[:32]}-thumbnail"', "Cache-Control": FOREVER}
    if if_none_match is not None and headers["ETag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    image = server.scans.open(case).image
    picture = Picture.fromarray(image.slice_rgb(image.grid.shape[0] // 2))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return Response(data.getvalue(), media_type="image/png", headers=headers)


@router.put("/cases/{case_id}/status")
def change_status(*, case: Case, server: Server, me: Annotator, change: StatusChange) -> CaseView:
    """Say how far a case is."""
    server.project.set_status(case.id, change.status)
    note_work(server, case.id, me, "review")
    return _view(server.project.case(case.id), server.presence.working())


@router.get("/cases/{case_id}/objects")
def list_objects(*, case: Case, server: Server) -> list[NamedObject]:
    """The named structures of a case."""
    return [
        NamedObject(label=item.label, name=item.name, color=item.color, code=item.code, locked=item.locked)
        for item in server.project.objects(case.id)
    ]


@router.put("/cases/{case_id}/objects/{label}")
def name_object(
    *, case: Case, server: Server, label: Annotated[int, InPath(ge=1, le=65535)], item: ObjectView
) -> ObjectView:  # fmt: skip
    """Name a structure, or name it anew."""
    named = item.model_copy(update={"label": label})
    server.project.set_object(case.id, ProjectObject(label, named.name, named.color, named.code))
    return named


@router.patch("/cases/{case_id}/objects/{label}", status_code=204)
def lock_object(
    *, case: Case, server: Server, label: Annotated[int, InPath(ge=1, le=65535)], change: ObjectLock
) -> None:  # fmt: skip
    """Lock a structure, so that nothing changes it, or unlock it; everybody who opens the case sees it."""
    server.project.lock_object(case.id, label, locked=change.locked)
