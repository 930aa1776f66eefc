"""What MONAI Label's clients send and expect: forms, points and boxes, and answers of several parts."""

from __future__ import annotations

import gzip
import json
import math
import secrets
import tempfile
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np
from fastapi import Request, Response
from fastapi.responses import FileResponse
from numpy.typing import NDArray
from starlette.background import BackgroundTask
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from medsam.errors import InputFileError, MedsamError, PromptError
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.intensity import find_rule, normalize
from medsam.imaging.modality import Modality, parse_modality
from medsam.imaging.prompts import MAX_LABEL, Prompt
from medsam.io.dicom.series import list_series
from medsam.io.formats import write_mask
from medsam.server.settings import ServerSettings
from medsam.server.strokes import stroke_prompts


async def read_form(request: Request) -> FormData:
    """The form of a request; the body says its boundary, since the client may repeat the Content-Type of an older one.

    Raises:
        InputFileError: the body is no form.
    """
    stream = request.stream()
    first = b""
    while b"\r\n" not in first and len(first) < 200 and (more := await anext(stream, b"")):
        first += more
    boundary = first.split(b"\r\n", 1)[0].removeprefix(b"--")
    if not 1 <= len(boundary) <= 70:
        raise InputFileError("a body that is no form", expected="multipart/form-data", fix="send the file as a form")

    async def whole() -> AsyncGenerator[bytes, None]:
        yield first
        async for chunk in stream:
            yield chunk

    headers = Headers({"content-type": f"multipart/form-data; boundary={boundary.decode('latin-1')}"})
    try:
        return await MultiPartParser(headers, whole(), max_files=4, max_fields=20).parse()
    except (MultiPartException, ValueError, KeyError):
        raise InputFileError("a form that is damaged", expected="multipart/form-data", fix="send it again") from None


def read_params(sent: object) -> Mapping[str, object]:
    """The JSON beside a request.

    Raises:
        PromptError: it is none.
    """
    try:
        found = json.loads(sent) if isinstance(sent, str) and sent else {}
        json.dumps(found, ensure_ascii=False).encode()  # half a character is written as JSON, and nowhere else
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PromptError("params that are no JSON object", expected="a JSON object", fix="send one")
    return found


def prompts_of(params: Mapping[str, object], dimension: int, shape_DHW: tuple[int, int, int]) -> list[Prompt]:
    """Points and a box in voxels (i, j, k) as prompts; the box may come with its sides reversed, as 3D Slicer sends it.

    Args:
        params: "foreground", "background", "roi" (x0, x1, y0, y1, z0, z1), and for two dimensions "slice".
        dimension: 2 asks for one slice, 3 for the volume.
        shape_DHW: Of the image.

    Raises:
        PromptError: neither points nor a box, or numbers that are none.
    """
    try:
        drawn = [(*map(float, p), sign) for name, sign in (("foreground", 1), ("background", 0))
                 for p in params.get(name) or ()]  # type: ignore[attr-defined]  # fmt: skip
        roi = [float(v) for v in params.get("roi") or ()]  # type: ignore[attr-defined]
        only = None if dimension == 3 else int(params["slice"])  # type: ignore[call-overload]
        points = [(x, y, int(z), int(sign)) for x, y, z, sign in drawn]
        pairs = [sorted(roi[i : i + 2]) for i in (0, 2, 4)] if len(roi) == 6 else []
        if not isinstance(params.get("roi") or [], list) or not all(
            math.isfinite(v) for v in (*roi, *(v for point in drawn for v in point))
        ):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise PromptError(
            "points, roi or slice that are no numbers", expected="[i, j, k] each; roi of six", fix="draw them again"
        ) from None
    box = (pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]) if pairs else None
    if only is not None:
        own = [p for p in points if p[2] == only]
        return [_on_slice(only, own, box)]
    if pairs:
        first, last = max(0, round(pairs[2][0])), min(shape_DHW[0] - 1, round(pairs[2][1]))
        (x0, x1), (y0, y1) = pairs[0], pairs[1]
        solid = Prompt(box_3d=(x0, y0, first, x1, y1, last))
        return [solid, *(_on_slice(k, [p for p in points if p[2] == k], box) for k in sorted({p[2] for p in points}))]
    if not points:
        raise PromptError("neither points nor a box", expected="one of them", fix="draw a box or a point")
    return [_on_slice(k, [p for p in points if p[2] == k], None) for k in sorted({p[2] for p in points})]


def _on_slice(
    k: int, points: list[tuple[float, float, int, int]], box: tuple[float, float, float, float] | None
) -> Prompt:  # fmt: skip
    return Prompt(slice=k, box=box, points=tuple(p[:2] for p in points), point_labels=tuple(p[3] for p in points))


def scribbled_prompts(drawn: Mask, axis: int = 0) -> tuple[list[Prompt], NDArray[np.uint8]]:
    """3D Slicer's scribbles: 3 inside the object, 2 outside it, 1 what it was so far.

    Returns:
        Points on slices, and the mask so far (D, H, W).

    Raises:
        PromptError: no scribble.
    """
    prompts = []
    for value, inside in ((3, True), (2, False)):
        stroke_DHW = drawn.labels == value
        if stroke_DHW.any():
            prompts += stroke_prompts(stroke_DHW, (0, 0, 0), axis, inside=inside)
    if not prompts:
        raise PromptError("no scribbles", expected="3 inside the object, 2 outside", fix="paint a stroke")
    return prompts, (drawn.labels == 1).astype(np.uint8)


def read_raw_labels(path: Path, grid: Grid) -> Mask:
    """OHIF's labels: bytes, or words of 16 bits, of the whole volume and nothing else.

    Raises:
        InputFileError: another number of bytes.
    """
    size, voxels = path.stat().st_size, math.prod(grid.shape)
    if size not in (voxels, 2 * voxels):
        raise InputFileError(
            f"{size} bytes of labels", expected=f"{voxels}, one a voxel, or two", fix="send the volume"
        )
    return Mask(np.fromfile(path, np.uint8 if size == voxels else np.dtype("<u2")).reshape(grid.shape), grid)


def read_series_uids(source: Path) -> frozenset[str]:
    """The SeriesInstanceUID of a DICOM file, or those of the files of a folder; none where there is no DICOM."""
    if not source.is_dir() and source.suffix.lower() != ".dcm":
        return frozenset()
    try:
        return frozenset(one.uid for one in list_series(source))
    except MedsamError:
        return frozenset()


def named_labels(params: Mapping[str, object]) -> dict[int, str]:
    """Names of labels as the clients send them: a list of name and idx."""
    rows = params.get("label_info")
    named = {}
    for row in rows if isinstance(rows, list) else ():
        label, name = (row.get("idx"), row.get("name")) if isinstance(row, dict) else (None, None)
        if isinstance(label, int) and 1 <= label <= MAX_LABEL and isinstance(name, str) and name.strip():
            named[label] = name.strip()[:200]
    return named


def ready_image(stored: Image, settings: ServerSettings) -> Image:
    """Normalize a scan of a client; one that does not say its modality gets the server's, else the rule of MR.

    Raises:
        IntensityError: a CT without a window.
    """
    if find_rule(stored) is None:
        named = parse_modality(settings.modality) if settings.modality else Modality.MR
        stored = replace(stored, modality=named)
    return normalize(stored, window=settings.window if stored.modality == Modality.CT else None)


def file_of(mask: Mask, suffix: str, stem: str) -> FileResponse:
    """A mask as a file that goes away once it is sent."""
    folder = Path(tempfile.mkdtemp(prefix="medsam-"))
    try:
        write_mask(mask, folder / f"{stem}{suffix}")
    except BaseException:
        rmtree(folder, ignore_errors=True)
        raise
    path = folder / f"{stem}{suffix}"
    return FileResponse(path, filename=path.name, background=BackgroundTask(rmtree, folder))


def _plain_nrrd(mask: Mask) -> Response:
    """NRRD with its labels as they lie in memory, which is all that OHIF's reader knows."""
    with tempfile.TemporaryDirectory(prefix="medsam-") as folder:
        write_mask(mask, path := Path(folder) / "mask.nrrd")
        header, _, packed = path.read_bytes().partition(b"\n\n")
    body = header.replace(b"encoding: gzip", b"encoding: raw") + b"\n\n" + gzip.decompress(packed)
    return Response(body, media_type="application/octet-stream")


def answer_of(
    mask: Mask, suffix: str, params: Mapping[str, object], output: str, *, plain: bool = False
) -> Response:  # fmt: skip
    """A mask and what is said of it: the bare file for "image", else a form of both."""
    if output == "image":
        return _plain_nrrd(mask) if plain and suffix == ".nrrd" else file_of(mask, suffix, "mask")
    with tempfile.TemporaryDirectory(prefix="medsam-") as folder:
        path = Path(folder) / f"mask{suffix}"
        write_mask(mask, path)
        data = path.read_bytes()
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="params"\r\n\r\n{json.dumps(params)}\r\n'
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="mask{suffix}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}")
