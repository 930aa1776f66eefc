"""Routes of /api/v1 that say which slice is looked at, and what is embedded: a prompt on an embedded slice answers at once."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath

from medsam.annotation.study.project import ProjectCase
from medsam.imaging.image import Image
from medsam.inference.cache import compute_embedding_key
from medsam.server.problems import NotFound
from medsam.server.schemas import EmbeddingView, Index, LookedAt, PlaneName
from medsam.server.state import Annotator, Case, Server, ServerState

router = APIRouter(prefix="/api/v1/cases/{case_id}/embeddings", tags=["model"])
AHEAD = (1, -1, 2, -2, 3, -3)  # slices around the current one that are embedded once nobody asks


@router.post("", status_code=202)
def look_at(*, case: Case, server: Server, me: Annotator, looked: LookedAt) -> EmbeddingView:
    """Say which slice is looked at: it is embedded once no prompt waits, and those around it later. Answers at once.

    A newer slice of the same annotator and case takes the place of one that is not begun. Whether the slice is embedded
    is told only where the scan is open already; it is false else.
    """
    depth = case.shape[_axis(server, case, looked.plane)]
    if looked.slice >= depth:
        raise _no_slice(looked.slice, depth)
    ready = server.scans.is_ready(case) and _holds(server, case, looked.plane, looked.slice)
    server.worker.look((case.id, me), partial(_embed, server, case, looked.plane, looked.slice))
    return EmbeddingView(plane=looked.plane, slice=looked.slice, embedded=ready)


@router.get("/{plane}/{index}")
def read_embedding(
    *, case: Case, server: Server, plane: Annotated[PlaneName, InPath()], index: Annotated[Index, InPath()]
) -> EmbeddingView:
    """Whether a slice is embedded, so that a prompt on it answers at once."""
    depth = case.shape[_axis(server, case, plane)]
    if index >= depth:
        raise _no_slice(index, depth)
    return EmbeddingView(plane=plane, slice=index, embedded=_holds(server, case, plane, index))


def embed_ahead(server: ServerState, image: Image, index: int) -> None:
    """Let the slices around one be embedded once nobody asks.

    Args:
        image: Normalized, its slices first.
    """
    near = [index + step for step in AHEAD if 0 <= index + step < image.grid.shape[0]]
    server.worker.ahead([partial(_embed_slice, server, image, k) for k in near])


def _embed(server: ServerState, case: ProjectCase, plane: str, index: int) -> None:
    scan = server.scans.open(case)
    image = scan.image.move_axis(scan.axis(plane))
    _embed_slice(server, image, index)
    embed_ahead(server, image, index)


def _embed_slice(server: ServerState, image: Image, index: int) -> None:
    server.cache.embed(server.predictor, [image.slice_rgb(index)])


def _holds(server: ServerState, case: ProjectCase, plane: str, index: int) -> bool:
    scan = server.scans.open(case)
    sliced = scan.image.move_axis(scan.axis(plane)).slice_rgb(index)
    return server.cache.holds(compute_embedding_key(server.predictor, sliced))


def _axis(server: ServerState, case: ProjectCase, plane: str) -> int:
    return 0 if plane == "stored" else server.scans.open(case).axis(plane)


def _no_slice(index: int, depth: int) -> NotFound:
    return NotFound(f"slice {index}", expected=f"0 to {depth - 1}", fix="ask for one of them")
