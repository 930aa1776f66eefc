"""Routes of /api/v1 that hold masks: the head, slices and runs of a mask, edits, undo and redo, exports, measurements."""

from __future__ import annotations

import errno
import math
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from medsam.annotation.study.heads import Head
from medsam.annotation.study.label_runs import encode_runs
from medsam.annotation.study.project import ProjectCase
from medsam.errors import DataError, GeometryError, InputFileError, OutputError
from medsam.imaging.image import Mask
from medsam.io.suffixes import FORMATS
from medsam.jobs.project import read_current_mask, read_options
from medsam.server.annotating import locked_objects, mask_of, refuse_locked, save_state
from medsam.server.drawn import number_of, with_slice
from medsam.server.object_changes import apply_changes
from medsam.server.problems import NotFound
from medsam.server.scans import wire_values
from medsam.server.schemas import HeadView, Index, MoveView, PlaneName, RevisionId
from medsam.server.scores import drop_scores, head_scores
from medsam.server.state import (
    Annotator,
    Case,
    RequiredVersion,
    Server,
    ServerState,
    conflicts_shown,
    head_view,
    note_work,
)

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["masks"])
OCTETS: dict[str, object] = {"content": {"application/octet-stream": {}}}
WRITTEN = {
    "nifti": ".nii.gz",
    "nrrd": ".nrrd",
    "metaimage": ".mha",
    "tiff": ".tif",
    "dicom-seg": ".dcm",
    "rtstruct": ".dcm",
}
FULL = (errno.ENOSPC, errno.EDQUOT)
BY_NAME = ("dicom-seg", "rtstruct")  # formats that their suffix does not tell
At = Annotated[Index, InPath()]
OfWhom = Annotated[str | None, Query(alias="annotator", max_length=64)]
OfRevision = Annotated[RevisionId | None, Query()]


def _tagged(response: Response, head: HeadView) -> HeadView:
    response.headers["ETag"] = f'"v{head.version}"'
    return head


@router.get("/head")
def read_head(*, case: Case, server: Server, me: Annotator, response: Response, annotator: OfWhom = None) -> HeadView:
    """Where an annotator stands; its ETag goes with the next write as If-Match."""
    return _tagged(response, head_view(server, case.id, annotator or me))


@router.get("/history")
def history(*, case: Case, server: Server) -> list[MoveView]:
    """All saves, undos and redos of a case, in order."""
    return [
        MoveView(annotator=who, kind=kind, revision=revision, at=at)
        for who, kind, revision, at in server.project.history(case.id)
    ]


def revision_of(server: ServerState, case_id: str, annotator: str | None, revision: int | None) -> int | None:
    """The revision asked for, which must be one of the case, or the one that the annotator stands at.

    Raises:
        NotFound: a revision of another case.
    """
    if revision is None:
        assert annotator is not None  # noqa: S101 - who asks for no revision names somebody
        return server.project.head(case_id, annotator).revision
    try:
        own = server.scans.state(revision).case_id == case_id
    except DataError:  # there is none, or it is damaged, which is told when its mask is asked for
        own = revision in {reached for _, _, reached, _ in server.project.history(case_id)}
    if not own:
        raise NotFound(f"revision {revision}", expected="a revision of the case", fix="ask for its history")
    return revision


@router.get("/mask", response_class=Response, responses={200: OCTETS})
def mask_runs(
    *, case: Case, server: Server, me: Annotator, annotator: OfWhom = None, revision: OfRevision = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:  # fmt: skip
    """The whole mask as compressed label runs (MLR2)."""
    found = revision_of(server, case.id, annotator or me, revision)
    headers = {"ETag": f'"r{found or 0}"', "Cache-Control": "private, no-cache"}
    if if_none_match is not None and headers["ETag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    mask, _ = mask_of(server, case, found)
    return Response(encode_runs(mask), media_type="application/octet-stream", headers=headers)


@router.get("/mask/{plane}/{index}", response_class=Response, responses={200: OCTETS})
def mask_slice(
    *, case: Case, server: Server, me: Annotator, plane: Annotated[PlaneName, InPath()], index: At, annotator: OfWhom = None,
    revision: OfRevision = None,
) -> Response:  # fmt: skip
    """Labels of one slice, row by row, uint8 or little-endian uint16 as X-Dtype says."""
    found = revision_of(server, case.id, annotator or me, revision)
    mask, _ = mask_of(server, case, found)
    axis = server.scans.open(case).axis(plane)
    if index >= case.shape[axis]:
        raise NotFound(f"slice {index}", expected=f"0 to {case.shape[axis] - 1}", fix="ask for one of them")
    labels = mask.plane(axis, index)
    values = wire_values(labels.astype(np.uint8) if labels.max(initial=0) < 256 else labels)
    headers = {
        "X-Shape": ",".join(map(str, values.shape)), "X-Dtype": values.dtype.str.replace("|", ""),
        "ETag": f'"r{found or 0}-{plane}-{index}"', "Cache-Control": "private, no-cache",
    }  # fmt: skip
    return Response(values.tobytes(), media_type="application/octet-stream", headers=headers)


@router.put("/mask/{plane}/{index}")
async def edit_slice(
    *, request: Request, case: Case, server: Server, me: Annotator, seen: RequiredVersion,
    plane: Annotated[PlaneName, InPath()], index: At, response: Response,
    dtype: Annotated[str, Query(pattern="^(u1|<u2)$")] = "u1",
) -> HeadView:  # fmt: skip
    """Save one slice drawn by hand, its labels row by row; the model leaves it alone from then on."""
    most = math.prod(sorted(case.shape)[1:]) * np.dtype(dtype).itemsize  # of the largest plane
    data = await _receive(request, most)
    return _tagged(response, await run_in_threadpool(_save_edit, server, case, me, seen, (plane, index, dtype, data)))


async def _receive(request: Request, most_bytes: int) -> bytes:
    """A body that is held in memory, refused as soon as it is longer than it may be."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most_bytes:
            raise DataError(f"more than {most_bytes} bytes", expected="the labels of one slice", fix="send one slice")
    return bytes(data)


def _save_edit(
    server: ServerState, case: Case, me: str, seen: int, drawn: tuple[PlaneName, int, str, bytes]
) -> HeadView:  # fmt: skip
    plane, index, dtype, data = drawn
    axis = 0 if plane == "stored" else server.scans.open(case).axis(plane)
    height, width = (size for at, size in enumerate(case.shape) if at != axis)
    if index >= case.shape[axis]:
        raise NotFound(f"slice {index}", expected=f"0 to {case.shape[axis] - 1}", fix="draw on one of them")
    if len(data) != height * width * np.dtype(dtype).itemsize:
        raise DataError(
            f"{len(data)} bytes of {dtype}", expected=f"{height} x {width} labels", fix="send the whole slice"
        )
    with conflicts_shown(server, case.id, me, seen):
        before, locked = mask_of(server, case, server.project.head(case.id, me).revision)
        old, new = before.plane(axis, index), np.frombuffer(data, dtype).reshape(height, width)
        changed = [int(n) for n in np.unique(np.concatenate([old[old != new], new[old != new]])) if n]
        refuse_locked(changed, locked_objects(server, case))
        head = save_state(
            server, case, me, before.with_plane(axis, index, new), seen=seen, kind="edit", event={"plane": plane, "slice": index},
            locked=with_slice(locked, changed, number_of(case.shape, axis, index)),
            scores=drop_scores(head_scores(server, case, me), changed, axis, index),
        )  # fmt: skip
    return head_view(server, case.id, me, head)


def _move(
    server: ServerState, case: Case, me: str, seen: int, move: Callable[..., Head]
) -> tuple[HeadView, int | None, int | None]:
    """Move the head; where it stands now, and the revisions before and after."""
    with conflicts_shown(server, case.id, me, seen):
        left = server.project.head(case.id, me).revision
        head = move(case.id, me, seen=seen)
    note_work(server, case.id, me, "refining")
    return head_view(server, case.id, me, head), left, head.revision


@router.post("/undo")
def undo(*, case: Case, server: Server, me: Annotator, seen: RequiredVersion, response: Response) -> HeadView:
    """Go back to the state before, also after the server was started anew."""
    view, left, _ = _move(server, case, me, seen, server.project.undo)
    if left is not None:
        apply_changes(server, case, server.scans.state(left).event, "before")
    return _tagged(response, view)


@router.post("/redo")
def redo(*, case: Case, server: Server, me: Annotator, seen: RequiredVersion, response: Response) -> HeadView:
    """Take back the last undo."""
    view, _, reached = _move(server, case, me, seen, server.project.redo)
    if reached is not None:
        apply_changes(server, case, server.scans.state(reached).event, "after")
    return _tagged(response, view)


@router.get("/export", response_class=FileResponse)
def export(
    *, case: Case, server: Server, me: Annotator, format: Annotated[str, Query(max_length=20)], annotator: OfWhom = None
) -> FileResponse:
    """The mask as a file; DICOM objects take the patient's attributes from the scan's own series."""
    mask = read_current_mask(server.project, case, annotator or me, server.scans.open(case).stored)
    path = write_export(server.passing, mask, case, format)
    return FileResponse(path, filename=path.name, background=BackgroundTask(rmtree, path.parent))


def write_export(place: Path, mask: Mask, case: ProjectCase, format: str) -> Path:
    """Write a mask into a new folder in a place, which the caller removes; several files become one zip.

    Raises:
        OutputError: an unknown format, or a mask that it cannot hold.
    """
    from medsam.io.formats import write_mask

    row = next((row for row in FORMATS if row.name == format and "write_mask" in row.can), None)
    if row is None:
        known = ", ".join(row.name for row in FORMATS if "write_mask" in row.can)
        raise OutputError(f"the format {format!r:.30}", expected=known, fix="choose one of them")
    suffix, source, stem = WRITTEN.get(row.name) or row.suffixes[0], case.source, f"case-{case.number}"
    folder = Path(tempfile.mkdtemp(dir=place))
    try:
        path = folder / f"{stem}{suffix}"
        write_mask(
            mask,
            path,
            reference=source,
            format=format if format in BY_NAME else None,
            series=read_options(case)[0].series,
        )
        files = sorted(folder.iterdir())
        if files == [path]:
            return path
        archive = folder / f"{stem}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
            for file in files:
                bundle.write(file, file.name)
    except BaseException as error:
        rmtree(folder, ignore_errors=True)
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
            raise OutputError("the disk is full", expected="room for the file", fix="free some, try again") from None
        if isinstance(error, InputFileError | GeometryError | OutputError):
            if isinstance(error, OutputError) and not any(
                part in str(error) for part in (Path(source).name, folder.name)
            ):
                raise
            raise OutputError(  # the errors of a source tell its path, which may hold names
                f"the mask cannot be written as {format} ({type(error).__name__})",
                expected="a format that suits the scan",
                fix="choose another; DICOM objects need a scan that is a DICOM series",
            ) from None
        raise
    return archive
