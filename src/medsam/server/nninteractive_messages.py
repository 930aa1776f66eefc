"""What nnInteractive's client sends and expects: packed arrays, JSON in a header, and the part of a mask that changed.

An array is a header (magic, version, codec, dimensions, dtype, shape) and blosc2 frames; everything that it declares is
checked against the bytes that are there and against a limit before anything is unpacked.
"""

from __future__ import annotations

import json
import math
import mmap
import struct
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import blosc2
import numpy as np
from fastapi import Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from medsam.errors import InputFileError, PromptError
from medsam.server.problems import BodyTooLarge

MAGIC, VERSION, ZSTD = b"NNIA", 1, 1
CODECS = (ZSTD, 2)  # 2 is LZ4; a frame says itself how it is packed
DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
)
CHUNK_BYTES = 1 << 30  # of values in a frame: blosc2 takes less than 2 GiB
META = "X-Meta"
Bounds = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]  # first and end of each axis, half open
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Side = tuple[Number, Number]


class TargetBuffer(BaseModel):
    """Where the client keeps its mask."""

    shape: list[Annotated[int, Field(ge=1, le=1 << 20)]] = Field(min_length=2, max_length=3)
    dtype: Literal["bool", "uint8", "uint16", "int16", "int32", "float32"]


class BoxDrawn(BaseModel):
    """A box of one slice or of several, half open."""

    bbox_coords: tuple[Side, Side, Side]
    include_interaction: bool
    run_prediction: bool = True


class PointDrawn(BaseModel):
    """A click."""

    coordinates: tuple[Number, Number, Number]
    include_interaction: bool
    run_prediction: bool = True


class MaskDrawn(BaseModel):
    """What goes with a scribble or a lasso."""

    include_interaction: bool
    run_prediction: bool = True
    interaction_bbox: tuple[Side, Side, Side] | None = None


class ImageProperties(BaseModel):
    """What a client knows of a scan; of it only the spacing counts."""

    spacing: list[Number] | None = Field(default=None, max_length=4)


class ImageSent(BaseModel):
    """What goes with a scan."""

    image_properties: ImageProperties = Field(default_factory=ImageProperties)


Form = TypeVar("Form", bound=BaseModel)


def read_meta(form: type[Form], request: Request) -> Form:
    """The JSON that goes beside a packed array.

    Raises:
        PromptError: it is none, or not what the protocol says.
    """
    try:
        return form.model_validate_json(request.headers.get(META, "{}"))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PromptError(
            f"{META} {where}".strip(), expected=str(first["msg"]), fix="send it as nnInteractive's client does"
        ) from None


async def receive_array(request: Request, folder: Path, most_bytes: int) -> NDArray[np.generic]:
    """Take the packed array that a body holds.

    Args:
        folder: Where the body lies while it comes.
        most_bytes: Of the body, and of what it unpacks to.

    Raises:
        InputFileError: no packed array.
        BodyTooLarge: more than most_bytes.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > most_bytes:
                raise _too_large(most_bytes)
            file.write(chunk)
        file.flush()
        if not size:
            raise _bad("an empty body")
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return unpack_array(view, most_bytes)


def unpack_array(view: memoryview, most_bytes: int) -> NDArray[np.generic]:
    """Unpack an array; see receive_array."""
    shape, dtype, offset = _header(view)
    total = math.prod(shape) * dtype.itemsize
    if total > most_bytes:
        raise _too_large(most_bytes)
    (chunks,) = _read("<I", view, offset)
    offset, frames = offset + 4, []
    for _ in range(chunks):
        length, packed = _read("<QQ", view, offset)
        offset += 16
        if length % dtype.itemsize or not 0 < packed <= len(view) - offset:
            raise _bad("a chunk longer than the body")
        frames.append((length, offset, packed))
        offset += packed
    if sum(length for length, _, _ in frames) != total:
        raise _bad("chunks that do not fill the shape")
    values: NDArray[np.generic] = np.empty(total // dtype.itemsize, dtype)
    done = 0
    for length, start, packed in frames:
        with view[start : start + packed] as frame:
            _inflate(frame, values[done : done + length // dtype.itemsize])
        done += length // dtype.itemsize
    return values.reshape(shape)


def _header(view: memoryview) -> tuple[tuple[int, ...], np.dtype[np.generic], int]:
    magic, version, codec, dimensions, letters = _read("<4sBBBB", view, 0)
    if magic != MAGIC or version != VERSION or codec not in CODECS:
        raise _bad("a body that is no packed array")
    name = bytes(view[8 : 8 + letters]).decode("ascii", "replace")
    if name not in DTYPES or not 2 <= dimensions <= 4:
        raise _bad(f"an array of {dimensions} dimensions and dtype {name!r:.20}")
    shape = _read(f"<{dimensions}q", view, 8 + letters)
    if min(shape) < 1:
        raise _bad("a shape with a side below 1")
    return shape, np.dtype(name), 8 + letters + 8 * dimensions


def _read(form: str, view: memoryview, offset: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(form, view, offset)
    except struct.error:
        raise _bad("a body that ends early") from None


def _inflate(frame: memoryview, values: NDArray[np.generic]) -> None:
    """Unpack a frame into values, once its own header agrees with both lengths."""
    try:
        unpacked, packed, _ = blosc2.get_cbuffer_sizes(frame)
        if unpacked != values.nbytes or packed > len(frame):
            raise _bad("a frame of another length than declared")
        blosc2.decompress2(frame, dst=values)
    except (RuntimeError, ValueError, TypeError, MemoryError):
        raise _bad("a frame that cannot be unpacked") from None


def pack_array(values: NDArray[np.generic]) -> bytes:
    """Pack an array of a type that the protocol knows."""
    values = np.ascontiguousarray(values)
    name = values.dtype.name.encode()
    head = struct.pack(f"<4sBBBB{len(name)}s", MAGIC, VERSION, ZSTD, values.ndim, len(name), name)
    head += struct.pack(f"<{values.ndim}q", *values.shape)
    raw = values.data.cast("B")
    parts = [head, struct.pack("<I", math.ceil(raw.nbytes / CHUNK_BYTES))]
    for start in range(0, raw.nbytes, CHUNK_BYTES):
        piece = raw[start : start + CHUNK_BYTES]
        frame = blosc2.compress2(  # the size of an item must divide the length: blosc2 cannot read other zeros back
            piece, typesize=values.dtype.itemsize, codec=blosc2.Codec.ZSTD, clevel=3, filters=[blosc2.Filter.NOFILTER]
        )
        parts += [struct.pack("<QQ", len(piece), len(frame)), frame]
    return b"".join(parts)


def changed_answer(values: NDArray[np.generic] | None, bounds: Bounds | None, *, ran: bool) -> Response:
    """The part of the mask that changed, None where nothing did."""
    told: dict[str, object] = {"ran_prediction": ran, "bbox": None}
    body = b""
    if values is not None and bounds is not None:
        told |= {"bbox": [list(pair) for pair in bounds], "dtype": values.dtype.name, "shape": list(values.shape)}
        body = pack_array(values)
    return Response(body, media_type="application/octet-stream", headers={META: json.dumps(told)})


def voxels_drawn(array: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where an array is above zero; what is no number is not."""
    with np.errstate(invalid="ignore"):
        drawn: NDArray[np.bool_] = np.greater(array, 0)
    return drawn


def voxel_bounds(drawn: tuple[Side, Side, Side], shape: tuple[int, int, int]) -> Bounds:
    """The voxels of a half-open box, rounded and cut to the image.

    Raises:
        PromptError: none of them lies in the image.
    """
    pairs = []
    for (low, high), size in zip(drawn, shape, strict=True):
        first, end = max(0, round(min(low, high))), min(size, round(max(low, high)))
        if first >= end:
            raise PromptError(
                f"a box with no voxel of the image of {shape}", expected="[first, end) of each axis", fix="draw it anew"
            )
        pairs.append((first, end))
    return pairs[0], pairs[1], pairs[2]


def _bad(got: str) -> InputFileError:
    return InputFileError(got, expected="an array as nnInteractive's client packs it", fix="send it again")


def _too_large(most_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"an array of more than {most_bytes:,} bytes", expected="a smaller one", fix="crop it")
