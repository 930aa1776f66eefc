"""MetaImage (.mha, .mhd): the header is checked before pixels are read; detached pixels stay in its folder."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medsam.errors import GeometryError, InputFileError, IntensityError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality, parse_modality
from medsam.io.formats import ReadOptions
from medsam.io.limits import Encoding, decode, explain_other_content, read_head, refuse_oversized, resolve_beside
from medsam.io.placement import require_affine
from medsam.io.volumes.axes import choose_volume, order_colours

Header = Mapping[str, str]
MAX_HEADER_BYTES = 1 << 16
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
NAMES = {np.dtype(code).name: name for name, code in TYPES.items() if "LONG" not in name or "LONG_LONG" in name}
TO_MM = {"": 1.0, "?": 1.0, "mm": 1.0, "cm": 10.0, "um": 1e-3}


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read values as stored, on the grid of ElementSpacing, TransformMatrix and Offset (LPS, as ITK writes them).

    Raises:
        InputFileError: not MetaImage, truncated, too large, pixels outside the header's folder or in several files.
        GeometryError: degenerate axes.
    """
    first = read_head(path, MAX_HEADER_BYTES)
    header, start = _header(first, path)
    sizes, dtype, channels = (
        _sizes(header, path),
        _dtype(header, path),
        int(_integer(header, "ElementNumberOfChannels", 1, path)),
    )
    name = header["ElementDataFile"]
    if name.upper() == "LIST" or "%" in name or (len(name.split()) > 1 and not (path.parent / name).exists()):
        raise InputFileError(f"{path} keeps its pixels in several files", expected="one file", fix="export it as .mha")
    data = path if name.upper() == "LOCAL" else resolve_beside(path, name)
    values = _pixels(
        header, (*sizes[::-1], channels), dtype, data, start=start if data is path else 0, max_bytes=options.max_bytes
    )
    values = values[..., 0] if channels == 1 else values
    inner = (1,) * max(0, 3 - len(sizes)) + sizes[::-1][-3:] + ((channels,) if channels > 1 else ())
    values = order_colours(choose_volume(values.reshape(-1, *inner), options.volume, path), path)
    return Image(values, _grid(header, values.shape, len(sizes), path), _modality(header))


def write_values(values: np.ndarray, grid: Grid, path: Path) -> None:
    """Write values as they are; .mhd puts the pixels beside it as .zraw.

    Raises:
        OutputError: the disk refused.
    """
    pixels = zlib.compress(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data, 1)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(len(pixels)),
        **_place_lines(grid),
        "DimSize": " ".join(str(n) for n in grid.shape[::-1]),
        **({"ElementNumberOfChannels": "3"} if values.ndim == 4 else {}),
        "ElementType": NAMES[values.dtype.name],
    }
    if path.suffix.lower() != ".mhd":
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(_header_text({**lines, "ElementDataFile": "LOCAL"}))
            file.write(pixels)
        return
    beside = path.with_suffix(".zraw")
    with replacing(path) as temporary, replacing(beside) as temporary_pixels:  # the header comes last
        temporary_pixels.write_bytes(pixels)
        temporary.write_bytes(_header_text({**lines, "ElementDataFile": beside.name}))


def _place_lines(grid: Grid) -> Header:
    """Where the voxels lie; nothing where their spacing is not known."""
    if grid.spacing_mm is None:
        return {}
    affine, spacing = require_affine(grid), np.array(grid.spacing_mm)
    axes = affine[:3, :3] / spacing  # columns z y x; MetaImage lists the directions of x, then y, then z
    return {
        "TransformMatrix": _numbers(axes[:, ::-1].T.ravel()),
        "Offset": _numbers(affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _numbers(spacing[::-1]),
    }


def _header_text(lines: Header) -> bytes:
    return "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(v)) for v in values)


def _header(first: bytes, path: Path) -> tuple[Header, int]:
    """Fields, and where the pixels begin; ElementDataFile is the last line of the header."""
    header: dict[str, str] = {}
    at = 0
    while "ElementDataFile" not in header:
        end = first.find(b"\n", at)
        line = first[at:end].decode("utf-8", "replace") if end >= 0 else first[at:].decode("utf-8", "replace")
        key, equals, value = line.partition("=")
        if not equals or "\0" in line:
            break
        header[key.strip()] = value.strip()
        at = end + 1 if end >= 0 else len(first)
    if not {"ElementDataFile", "DimSize", "ElementType"} <= set(header):
        raise explain_other_content(path, first[:540], "a MetaImage file with DimSize, ElementType and ElementDataFile")
    slope, offset = (header.get(f"ElementToIntensityFunction{k}", d) for k, d in (("Slope", "1"), ("Offset", "0")))
    try:
        plain = (float(slope), float(offset)) == (1.0, 0.0)
    except ValueError:
        plain = False
    if not plain:
        raise InputFileError(
            f"{path} scales its values by {slope[:20]} and {offset[:20]}",
            expected="unscaled values",
            fix="export it again from the program that made it",
        )
    return header, at


def _integer(header: Header, key: str, default: int, path: Path) -> int:
    text = header.get(key, str(default))
    if not text.lstrip("-").isdigit():
        raise InputFileError(f"{path} has {key} = {text!r}", expected="a whole number", fix="export it again")
    return int(text)


def _floats(header: Header, keys: tuple[str, ...], count: int, path: Path) -> np.ndarray | None:
    for key in keys:
        if key in header:
            try:
                values = np.array(header[key].split(), dtype=np.float64)
            except ValueError:
                values = np.empty(0)
            if values.size != count or not np.isfinite(values).all():
                raise GeometryError(
                    f"{path} has {key} = {header[key][:80]!r}", expected=f"{count} numbers", fix="export it again"
                )
            return values
    return None


def _true(header: Header, *keys: str) -> bool:
    return any(header.get(key, "False").lower() in ("true", "1") for key in keys)


def _sizes(header: Header, path: Path) -> tuple[int, ...]:
    """x, y, z, t."""
    parts = header["DimSize"].split()
    sizes = tuple(int(part) for part in parts if part.isdigit())
    if (
        len(sizes) != len(parts)
        or not 2 <= len(sizes) <= 4
        or len(sizes) != _integer(header, "NDims", len(sizes), path)
        or min(sizes) < 1
    ):
        raise InputFileError(
            f"{path} has DimSize = {header['DimSize'][:80]!r}",
            expected="2 to 4 sizes of at least 1",
            fix="export it again",
        )
    return sizes


def _dtype(header: Header, path: Path) -> np.dtype[np.generic]:
    name = header["ElementType"].upper().removesuffix("_ARRAY")
    if name not in TYPES:
        raise InputFileError(
            f"{path} has ElementType = {name[:40]!r}", expected=f"one of {', '.join(TYPES)}", fix="export it again"
        )
    big = _true(header, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    return np.dtype((">" if big else "<") + TYPES[name])


def _pixels(
    header: Header, shape: tuple[int, ...], dtype: np.dtype[np.generic], data: Path, *, start: int, max_bytes: int
) -> np.ndarray:
    if header.get("BinaryData", "True").lower() not in ("true", "1"):
        raise InputFileError(
            f"{data} keeps its pixels as text", expected="binary pixels", fix="export it again as binary"
        )
    encoding: Encoding = "zlib" if _true(header, "CompressedData") else "raw"
    declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
    skip = _integer(header, "HeaderSize", 0, data)
    total = data.stat().st_size
    start = max(total - declared, start) if skip < 0 and encoding == "raw" else start + max(skip, 0)
    refuse_oversized(data, declared, max(total - start, 0), encoding=encoding, max_bytes=max_bytes)
    with data.open("rb") as file:
        file.seek(start)
        raw = file.read()
    return decode(raw, declared, data, encoding).view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _grid(header: Header, shape: tuple[int, ...], count: int, path: Path) -> Grid:
    size = (shape[0], shape[1], shape[2])
    spacing = _floats(header, ("ElementSpacing", "ElementSize"), count, path)
    turn = _floats(header, ("TransformMatrix", "Rotation", "Orientation"), count * count, path)
    offset = _floats(header, ("Offset", "Position", "Origin"), count, path)
    if spacing is None and turn is None and offset is None:
        return Grid(size)
    unit = TO_MM.get(header.get("DistanceUnits", "").lower())
    if unit is None:
        raise GeometryError(
            f"{path} is measured in {header['DistanceUnits'][:20]!r}", expected="mm", fix="export it again"
        )
    inner = min(count, 3)
    steps = np.eye(3)
    axes = np.eye(count) if turn is None else turn.reshape(count, count)
    steps[:inner, :inner] = (
        axes[:inner, :inner] * (np.ones(count) if spacing is None else np.abs(spacing))[:inner, None]
    )
    affine = np.eye(4)
    affine[:3, :3] = steps.T[:, ::-1] * unit
    affine[:inner, 3] = (np.zeros(count) if offset is None else offset)[:inner] * unit
    if inner == 2:
        affine[2, 0] = 1.0  # one slice: its thickness is not known
    try:
        return Grid(size, affine=affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error.got}", expected=error.expected, fix=error.fix) from None


def _modality(header: Header) -> Modality | None:
    try:
        return parse_modality(header.get("Modality", "").removeprefix("MET_MOD_"))
    except IntensityError:
        return None
