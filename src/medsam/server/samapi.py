"""The protocol of samapi, which QuPath's SAM extension speaks, under /sam: a tile and a prompt, GeoJSON features back.

The extension sends no token, so its address holds it: /qupath/TOKEN/sam/ leads here, and /qupath/TOKEN/case-3/sam/ says
for which case of the project the time is counted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import io
import time
from typing import Annotated, cast

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from numpy.typing import NDArray
from PIL import Image as Picture
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from medsam.errors import InputFileError, MissingDependencyError, PromptError
from medsam.imaging.boxes import fit_box
from medsam.imaging.prompts import Prompt
from medsam.inference.prompts import refuse_clicks
from medsam.io.outlines.contours import Polygon, Ring, trace
from medsam.jobs.project import find_case_by_number
from medsam.server.state import Annotator, Server, ServerState, note_answer
from medsam.server.strokes import settle

router = APIRouter(prefix="/sam", tags=["samapi"], include_in_schema=False)
VERSION = "0.6.0"  # of the protocol
MOST_PIXELS = 1 << 25  # of a tile
Pixel = Annotated[int, Field(ge=-(1 << 31), le=1 << 31)]


class TilePrompt(BaseModel):
    """A tile with a box or points; the model and its weights are the server's, whatever is asked for."""

    type: Annotated[str, Field(max_length=40)] | None = None
    b64img: str
    bbox: tuple[Pixel, Pixel, Pixel, Pixel] | None = None
    point_coords: Annotated[list[tuple[Pixel, Pixel]], Field(max_length=1000)] | None = None
    point_labels: Annotated[list[Annotated[int, Field(ge=0, le=1)]], Field(max_length=1000)] | None = None
    b64mask: str | None = None
    multimask_output: bool = False
    checkpoint_url: str | None = None


@router.get("/version/")
def version() -> PlainTextResponse:
    """The version of the protocol."""
    return PlainTextResponse(VERSION)


@router.get("/weights/")
def weights(server: Server, type: str = "vit_b") -> list[dict[str, str]]:
    """The one model that is served, under whatever type is asked for."""
    name = server.predictor.manifest.name
    return [{"type": type[:40], "name": name, "url": f"openmedsam:{name}"}]


@router.get("/weights/cancel/")
def cancel() -> PlainTextResponse:
    """Nothing is ever fetched."""
    return PlainTextResponse("nothing is being fetched")


@router.get("/progress/")
def progress() -> dict[str, object]:
    """Nothing is ever fetched."""
    return {"message": None, "percent": -1}


@router.post("/weights/")
@router.post("/automask/")
@router.post("/video/")
@router.post("/upload/")
@router.post("/sam3/")
def not_there() -> None:
    """Say what this server does not do.

    Raises:
        MissingDependencyError: always.
    """
    raise MissingDependencyError(
        "a request for other weights, masks without prompts, videos or text", expected="a box or points on a tile",
        fix="choose XY and draw a rectangle; medsam serve --model chooses the model",
    )  # fmt: skip


@router.post("/")
async def segment_tile(
    request: Request, server: Server, me: Annotator, asked: TilePrompt
) -> list[dict[str, object]]:  # fmt: skip
    """Segment one object on a tile; the time counts for the case that the address names."""
    number, asked_at = getattr(request.state, "case_number", None), time.monotonic()
    case = None if number is None else await run_in_threadpool(find_case_by_number, server.project, number)
    key = (hashlib.sha256(asked.model_dump_json().encode()).hexdigest(), object())
    future = server.worker.prompt(f"sam-{me}", key, lambda: _features(server, asked))
    found = cast(list[dict[str, object]], await asyncio.wrap_future(future))
    if case is not None:
        await run_in_threadpool(note_answer, server, case.id, me, asked_at)
    return found


def _features(server: ServerState, asked: TilePrompt) -> list[dict[str, object]]:
    predictor = server.predictor
    tile = _picture(asked.b64img, "RGB")
    prompt = _prompt_of(asked, tile, clicks="point" in predictor.manifest.prompts)
    if prompt.box is None:
        refuse_clicks(predictor.manifest)
    before = None
    if asked.b64mask:
        before = _picture(asked.b64mask, "L") > 0
        if before.shape != tile.shape[:2] or "mask" not in predictor.manifest.prompts:
            raise PromptError(
                f"a mask of shape {before.shape} for {predictor.manifest.name}",
                expected=f"{tile.shape[:2]}, and a model that takes masks", fix="leave the mask out",
            )  # fmt: skip
    [embedding] = server.cache.embed(predictor, [tile])
    many = asked.multimask_output and predictor.manifest.multimask
    masks, scores = predictor.decode(
        embedding, boxes=None if prompt.box is None else [prompt.box], points=[prompt.points] if prompt.points else None,
        point_labels=[prompt.point_labels] if prompt.points else None, mask=before, multimask=many,
    )  # fmt: skip
    found = zip(masks.reshape(-1, *tile.shape[:2]), scores.reshape(-1), strict=True)
    name = predictor.manifest.name
    return [_feature(mask, n, float(score), name) for n, (mask, score) in enumerate(found) if mask.any()]


def _picture(text: str, mode: str) -> NDArray[np.uint8]:
    """A PNG or JPEG in base64 as an array.

    Raises:
        InputFileError: it is none, or too large.
    """
    try:
        with Picture.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise InputFileError(
                    f"a tile of {picture.width} x {picture.height} pixels", expected=f"at most {MOST_PIXELS:,}",
                    fix="zoom in, or out to a coarser level",
                )  # fmt: skip
            return np.asarray(picture.convert(mode))
    except (binascii.Error, OSError, SyntaxError, ValueError, Picture.DecompressionBombError):
        raise InputFileError("a tile that is no picture", expected="PNG or JPEG in base64", fix="send one") from None


def _prompt_of(asked: TilePrompt, tile: NDArray[np.uint8], *, clicks: bool) -> Prompt:
    """The prompt on the tile; a box that reaches over the rim is cut.

    Raises:
        PromptError: neither a box nor a point inside, or counts that do not agree.
    """
    height, width = tile.shape[:2]
    points, signs = asked.point_coords or [], asked.point_labels or []
    x0, y0, x1, y1 = (float(v) for v in asked.bbox or (0, 0, 0, 0))
    drawn = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    box = fit_box(drawn, (0.0, 0.0, float(width), float(height))) if asked.bbox else None
    if not points and box is None:
        raise PromptError("a tile without a prompt", expected="a box or points", fix="draw a rectangle")
    prompt = Prompt(
        1, slice=0, box=box, points=tuple((float(x), float(y)) for x, y in points), point_labels=tuple(signs)
    )
    settled = settle([prompt], np.zeros((1, height, width), np.uint8), clicks=clicks)
    if not settled:
        raise PromptError("only points outside an object", expected="a box or a point inside", fix="draw one")
    return settled[0]


def _feature(mask_HW: NDArray[np.bool_], number: int, score: float, model: str) -> dict[str, object]:
    """A mask as a GeoJSON feature, along its pixels' edges."""
    polygons = [_rings(polygon) for polygon in trace(mask_HW)]
    alone = len(polygons) == 1
    geometry = {"type": "Polygon" if alone else "MultiPolygon", "coordinates": polygons[0] if alone else polygons}
    told = {"object_idx": number, "label": "object", "quality": round(score, 4), "sam_model": model}
    return {"type": "Feature", "geometry": geometry, "properties": told}


def _rings(polygon: Polygon) -> list[list[list[int]]]:
    return [_closed(ring) for ring in polygon.rings]


def _closed(ring: Ring) -> list[list[int]]:
    points: list[list[int]] = ring.astype(int).tolist()
    return [*points, points[0]]
