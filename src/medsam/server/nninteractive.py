"""The protocol of nnInteractive's remote client, which napari and 3D Slicer plugins speak, under /nninteractive.

A client takes a lease, sends a scan, draws, and gets back the part of its mask that changed. Nothing of it is kept in
the project but, where the scan is one of its cases, how long it took.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar, cast

import numpy as np
from fastapi import APIRouter, Depends, Header, Request, Response
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from medsam.errors import GeometryError, PromptError
from medsam.imaging.image import Grid, Image
from medsam.imaging.prompts import Prompt
from medsam.jobs.project import fingerprint
from medsam.server.leases import Leases
from medsam.server.monailabel_messages import ready_image
from medsam.server.nninteractive_messages import (
    Bounds,
    BoxDrawn,
    ImageSent,
    MaskDrawn,
    PointDrawn,
    TargetBuffer,
    changed_answer,
    read_meta,
    receive_array,
    voxel_bounds,
    voxels_drawn,
)
from medsam.server.nninteractive_scan import Drawn, InteractiveScan
from medsam.server.settings import ServerSettings
from medsam.server.state import Annotator, Server, ServerState, note_answer, note_work
from medsam.server.strokes import flat_axis, flat_box, lasso_prompts, solid_box, stroke_prompts

router = APIRouter(prefix="/nninteractive", tags=["nninteractive"], include_in_schema=False)
VERSION = "2.0.0"  # of the sessions that the client knows
SCRIBBLE_PX = 3
Answer = TypeVar("Answer")
Lease = Annotated[str | None, Header(alias="X-Lease-Token")]


def leases_of(settings: ServerSettings) -> Leases:
    """The seats of a server."""
    return Leases(settings.max_sessions, settings.idle_seconds, settings.live_seconds)


def _leases(request: Request) -> Leases:
    return cast(Leases, request.app.state.leases)


Seats = Annotated[Leases, Depends(_leases)]


class _Call:
    """One request of a client that holds a lease."""

    def __init__(self, request: Request, server: Server, me: Annotator, seats: Seats, lease: Lease = None) -> None:
        self.request, self.server, self.me, self._seats, self._lease = request, server, me, seats, lease

    async def act(self, action: Callable[[InteractiveScan], Awaitable[Answer]]) -> Answer:
        """Let an action at the scan, one after the other."""
        with self._seats.using(self._lease, self.me) as scan:
            async with scan.turn:
                return await action(scan)

    async def array(self) -> NDArray[np.generic]:
        """The packed array in the body; its lease is looked at first."""
        self._seats.remaining(self._lease, self.me, alive=True)
        server = self.server
        return await receive_array(self.request, server.passing, server.settings.max_array_bytes)

    async def drawn(self, drawn: Callable[[InteractiveScan], Drawn], *, run: bool) -> Response:
        """Remember what was drawn and answer it, unless the client wants to go on drawing."""

        async def action(scan: InteractiveScan) -> Response:
            one = drawn(scan)
            scan.draw(one)
            if not run:
                return changed_answer(None, None, ran=False)
            try:
                return await _predict(self, scan)
            except BaseException:
                scan.take_back(one)
                raise

        return await self.act(action)


Call = Annotated[_Call, Depends()]


async def _predict(call: _Call, scan: InteractiveScan) -> Response:
    server, asked_at = call.server, time.monotonic()

    def run() -> Bounds | None:
        return scan.predict(server.predictor, server.cache, lambda done, total: server.worker.give_way())

    future = server.worker.job("nninteractive", run)
    bounds = cast(Bounds | None, await asyncio.wrap_future(future))
    if scan.case is not None:
        await run_in_threadpool(note_answer, server, scan.case, call.me, asked_at)
    return await run_in_threadpool(_changed, scan, bounds)


def _changed(scan: InteractiveScan, bounds: Bounds | None) -> Response:
    return changed_answer(None if bounds is None else scan.part(bounds), bounds, ran=True)


@router.get("/healthz")
def healthz() -> dict[str, bool]:
    """Whether the server is there."""
    return {"ok": True}


@router.get("/capabilities")
def capabilities(server: Server) -> dict[str, object]:
    """What the model answers; scribbles and lassos become boxes where it answers no clicks."""
    manifest = server.predictor.manifest
    clicks = "point" in manifest.prompts
    return {
        "supported_interactions": {
            "points": clicks, "bbox2d": True, "bbox3d": True, "scribble": True, "scribbles": True, "lasso": True,
        },
        "channel_mapping": {}, "num_interaction_channels": 0, "interaction_decay": None,
        "preferred_scribble_thickness": [SCRIBBLE_PX] * 3, "patch_size": [1, manifest.frame_size, manifest.frame_size],
        "supports_initial_label": True, "supports_zero_shot_label_refinement": False, "supports_undo": True,
        "do_autozoom": False, "inference_session_version": VERSION, "license": manifest.licence,
        "model": manifest.name,
    }  # fmt: skip


@router.post("/claim")
def claim(seats: Seats, me: Annotator) -> dict[str, object]:
    """Take a lease."""
    return {
        "lease_token": seats.claim(me, InteractiveScan()), "idle_timeout_seconds": seats.idle_seconds,
        "liveness_timeout_seconds": seats.live_seconds, "max_sessions": seats.most,
    }  # fmt: skip


@router.post("/release")
def release(seats: Seats, me: Annotator, lease: Lease = None) -> dict[str, bool]:
    """Give a lease back."""
    seats.release(lease, me)
    return {"released": True}


@router.post("/heartbeat")
def heartbeat(seats: Seats, me: Annotator, lease: Lease = None) -> dict[str, float]:
    """Say that the client is still there; its user may be idle all the same."""
    return {"remaining_seconds": seats.remaining(lease, me, alive=True)}


@router.get("/lease_status")
def lease_status(seats: Seats, me: Annotator, lease: Lease = None) -> dict[str, float]:
    """How long a lease still lasts."""
    return {"remaining_seconds": seats.remaining(lease, me), "idle_timeout_seconds": seats.idle_seconds}


@router.post("/set_image")
async def set_image(call: Call) -> dict[str, list[int]]:
    """Take a scan; it is normalized and kept as 8 bits."""
    array = await call.array()
    spacing = read_meta(ImageSent, call.request).image_properties.spacing

    async def action(scan: InteractiveScan) -> dict[str, list[int]]:
        image = await run_in_threadpool(_image_of, array, spacing, call.server.settings)
        case = await run_in_threadpool(_case_of, call.server, array)
        scan.begin(image, case)
        if case is not None:
            await run_in_threadpool(note_work, call.server, case, call.me, "marking")
        return {"original_image_shape": [1, *image.grid.shape]}

    return await call.act(action)


def _case_of(server: ServerState, array: NDArray[np.generic]) -> str | None:
    """The case of the project that has the voxels of an array, in the type they are stored in or the client's."""
    values = np.moveaxis(array, 0, -1) if len(array) == 3 else array[0]
    known = {case.fingerprint: case for case in server.project.cases() if case.shape == values.shape[:3]}
    if not known:
        return None
    for dtype in (values.dtype, *map(np.dtype, ("i2", "u1", "u2", "f4"))):
        same = values.astype(dtype, copy=False)
        if np.array_equal(same, values) and (found := known.get(fingerprint(same))) is not None:
            return found.id
    return None


def _image_of(array: NDArray[np.generic], spacing: list[float] | None, settings: ServerSettings) -> Image:
    """A scan as the client sends it, (C, D, H, W) of one channel, or of three of 8 bits, which are colours.

    Raises:
        GeometryError: another shape, or a spacing that is none.
    """
    colours = array.ndim == 4 and len(array) == 3 and array.dtype == np.uint8
    if array.ndim != 4 or (len(array) != 1 and not colours):
        raise GeometryError(
            f"an image of shape {array.shape}", expected="(1, D, H, W)", fix="send one channel, or three of 8 bits"
        )
    values = np.moveaxis(array, 0, -1) if colours else array[0]
    values = values.astype(np.uint8) if values.dtype == bool else values
    depth, height, width = array.shape[1:]
    grid = Grid((depth, height, width), tuple(spacing) if spacing else None)  # type: ignore[arg-type]  # Grid checks
    return ready_image(Image(np.ascontiguousarray(values), grid), settings)


@router.post("/set_target_buffer")
async def set_target_buffer(call: Call, buffer: TargetBuffer) -> dict[str, object]:
    """Learn the type of the client's mask."""

    async def action(scan: InteractiveScan) -> dict[str, object]:
        shape = scan.ready().grid.shape
        if tuple(buffer.shape) != shape:
            raise GeometryError(
                f"a target buffer of shape {buffer.shape}", expected=f"that of the image, {shape}", fix="send it so"
            )
        scan.dtype = buffer.dtype
        return {}

    return await call.act(action)


@router.post("/set_do_autozoom")
async def set_do_autozoom(call: Call) -> dict[str, object]:
    """Take the wish and leave it: the whole slice is always seen, as capabilities says."""

    async def action(scan: InteractiveScan) -> dict[str, object]:
        del scan
        return {}

    return await call.act(action)


@router.post("/reset_interactions")
async def reset_interactions(call: Call) -> dict[str, object]:
    """Begin a new object."""

    async def action(scan: InteractiveScan) -> dict[str, object]:
        scan.forget()
        return {}

    return await call.act(action)


@router.post("/add_bbox_interaction")
async def add_bbox(call: Call, sent: BoxDrawn) -> Response:
    """A box on a slice or through several; one outside the object takes its voxels away."""

    def drawn(scan: InteractiveScan) -> Drawn:
        bounds = voxel_bounds(sent.bbox_coords, scan.ready().grid.shape)
        sizes = [end - first for first, end in bounds]
        axis = flat_axis(sizes, scan.axis)
        if not sent.include_interaction:
            return Drawn(scan.axis, erased=(bounds, np.ones(sizes, bool)))
        prompt = solid_box(bounds, scan.axis) if axis is None else flat_box(bounds, axis)
        return Drawn(scan.axis if axis is None else axis, (prompt,))

    return await call.drawn(drawn, run=sent.run_prediction)


@router.post("/add_point_interaction")
async def add_point(call: Call, sent: PointDrawn) -> Response:
    """A click inside or outside the object."""

    def drawn(scan: InteractiveScan) -> Drawn:
        shape = scan.ready().grid.shape
        at = [round(value) for value in sent.coordinates]
        if not all(0 <= value < size for value, size in zip(at, shape, strict=True)):
            raise PromptError("a click beside the image", expected=f"voxels of {shape}", fix="click inside it")
        y, x = (float(value) for a, value in enumerate(at) if a != scan.axis)
        sign = int(sent.include_interaction)
        return Drawn(scan.axis, (Prompt(1, slice=at[scan.axis], points=((x, y),), point_labels=(sign,)),))

    return await call.drawn(drawn, run=sent.run_prediction)


async def _add_mask(call: _Call, kind: Callable[..., Drawn]) -> Response:
    array = await call.array()
    sent = read_meta(MaskDrawn, call.request)

    def drawn(scan: InteractiveScan) -> Drawn:
        shape = scan.ready().grid.shape
        whole = ((0.0, float(shape[0])), (0.0, float(shape[1])), (0.0, float(shape[2])))
        bounds = voxel_bounds(sent.interaction_bbox or whole, shape)
        if array.shape != tuple(end - first for first, end in bounds):
            raise GeometryError(
                f"a drawing of shape {array.shape}", expected="that of its box, or of the image", fix="send it so"
            )
        mask_DHW = voxels_drawn(array)
        hit = [int(mask_DHW.any(axis=tuple(b for b in range(3) if b != a)).sum()) for a in range(3)]
        axis = flat_axis(hit, scan.axis)
        return kind(mask_DHW, bounds, scan.axis if axis is None else axis, inside=sent.include_interaction)

    return await call.drawn(drawn, run=sent.run_prediction)


@router.post("/add_scribble_interaction")
async def add_scribble(call: Call) -> Response:
    """A stroke inside or outside the object."""

    def stroke(mask_DHW: NDArray[np.bool_], bounds: Bounds, axis: int, *, inside: bool) -> Drawn:
        return Drawn(axis, tuple(stroke_prompts(mask_DHW, [low for low, _ in bounds], axis, inside=inside)))

    return await _add_mask(call, stroke)


@router.post("/add_lasso_interaction")
async def add_lasso(call: Call) -> Response:
    """A region around the object, or one to take away."""

    def lasso(mask_DHW: NDArray[np.bool_], bounds: Bounds, axis: int, *, inside: bool) -> Drawn:
        prompts = lasso_prompts(mask_DHW, [low for low, _ in bounds], axis)
        return Drawn(axis, tuple(prompts)) if inside else Drawn(axis, erased=(bounds, mask_DHW))

    return await _add_mask(call, lasso)


@router.post("/add_initial_seg_interaction")
async def add_initial_segmentation(call: Call) -> Response:
    """A mask to go on from, in place of what is there; it is not refined by itself, as capabilities says."""
    array = await call.array()

    async def action(scan: InteractiveScan) -> Response:
        shape = scan.ready().grid.shape
        if array.shape != shape:
            raise GeometryError(f"a mask of shape {array.shape}", expected=f"{shape}", fix="send it so")
        scan.change(voxels_drawn(array))
        return changed_answer(None, None, ran=False)

    return await call.act(action)


@router.post("/predict")
async def predict(call: Call) -> Response:
    """Answer what was drawn without a prediction."""

    async def action(scan: InteractiveScan) -> Response:
        return await _predict(call, scan) if scan.waits else changed_answer(None, None, ran=False)

    return await call.act(action)


@router.post("/undo")
async def undo(call: Call) -> Response:
    """Take back what was drawn last."""

    async def action(scan: InteractiveScan) -> Response:
        undone, bounds = scan.undo()
        if undone and scan.case is not None:
            await run_in_threadpool(note_work, call.server, scan.case, call.me, "refining")
        return changed_answer(None if bounds is None else scan.part(bounds), bounds, ran=undone)

    return await call.act(action)
