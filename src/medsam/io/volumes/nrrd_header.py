"""What every NRRD file has: its header, its pixels as stored, its grid; and all of them written.

The header is checked before pixels are read, and detached pixels must lie in its folder.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medsam.errors import GeometryError, InputFileError
from medsam.files.atomic import replacing
from medsam.imaging.image import Affine, Grid
from medsam.io.limits import (
    Encoding,
    compress,
    decode,
    explain_other_content,
    read_head,
    refuse_oversized,
    resolve_beside,
)
from medsam.io.placement import require_affine

Header = Mapping[str, object]
MAX_HEADER_BYTES = 16 << 20
ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
TEXT = ("txt", "text", "ascii")
NAMES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
TYPES = {name: code for code, names in NAMES.items() for name in names.split("|")}
WRITTEN = {"float32": "float", "float64": "double"}  # the other types are called as NumPy calls them
# The axis of LPS and the sign that a word of a space's name stands for.
WORDS = {
    "left": (0, 1),
    "right": (0, -1),
    "posterior": (1, 1),
    "anterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}
UNNAMED = ("scanner-xyz", "3d-right-handed", "")  # name no patient; ITK takes them as LPS, and so do we
TO_MM = {
    "": 1.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3,
    "micron": 1e-3, "microns": 1e-3, "nm": 1e-6,
}  # fmt: skip


def read_stored(path: Path, max_bytes: int) -> tuple[Header, np.ndarray]:
    """Read the header and the values in the order of the file.

    Args:
        path: .nrrd, or .nhdr with its pixels beside it.
        max_bytes: The most that the values may take.

    Returns:
        The fields, and values whose last axis is the fastest, the first one of `sizes`.

    Raises:
        InputFileError: not NRRD, truncated, too large, or data outside its folder.
    """
    first = read_head(path, 540).removeprefix(codecs.BOM_UTF8)  # an editor may have put a mark before the text
    if not first.startswith(b"NRRD000"):
        raise explain_other_content(path, first, "an NRRD file")
    with path.open("rb") as file:
        header = _parse(file, path)
        beside = read_field(header, "data file") or read_field(header, "datafile")
        data = resolve_beside(path, beside) if beside else path
        start = 0 if beside else file.tell()
    return header, _values(header, data, start, max_bytes)


def _parse(file: BinaryIO, path: Path) -> Header:
    """The fields; the file is left where the attached pixels begin."""
    import nrrd

    lines: list[str] = []
    size = 0
    while size < MAX_HEADER_BYTES:
        raw = file.readline(MAX_HEADER_BYTES)
        size += len(raw)
        line = raw.decode("utf-8-sig", "replace").rstrip("\r\n")
        if not line.strip():
            break
        lines.append(line)
    try:
        return dict(nrrd.read_header(lines))
    except (
        nrrd.NRRDError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        StopIteration,
    ) as error:
        raise InputFileError(
            f"{path} has a damaged header ({' '.join(str(error).split())[:120]})",
            expected="an NRRD header",
            fix="export it again",
        ) from None


def read_field(header: Header, key: str) -> str:
    """A field as text, "" where there is none."""
    return str(header.get(key, "")).strip()


def read_kinds(header: Header, count: int) -> list[str]:
    """The kind of each of `count` axes, fastest first; "" where it is not stated."""
    kinds = header.get("kinds", [])
    listed = [str(kind).lower() for kind in kinds] if isinstance(kinds, list) else []
    return listed if len(listed) == count else [""] * count


def _sizes(header: Header, path: Path) -> tuple[int, ...]:
    """As stored, fastest first."""
    sizes = tuple(int(n) for n in np.atleast_1d(np.asarray(header.get("sizes", ()))))
    if not 2 <= len(sizes) <= 5 or min(sizes) < 1:
        raise InputFileError(
            f"{path} has the sizes {sizes}", expected="2 to 5 sizes of at least 1", fix="export it again"
        )
    return sizes


def _dtype(header: Header, path: Path) -> np.dtype[np.generic]:
    code, endian = TYPES.get(read_field(header, "type").lower()), read_field(header, "endian").lower()
    ordered = endian in ("little", "big") or read_field(header, "encoding").lower() in TEXT
    if code is None or (code[1:] != "1" and not ordered):
        raise InputFileError(
            f"{path} has type {read_field(header, 'type')[:40]!r} and endian {endian[:40]!r}",
            expected="numbers of a stated byte order",
            fix="export it again",
        )
    return np.dtype((">" if endian == "big" else "<") + code)


def _values(header: Header, data: Path, start: int, max_bytes: int) -> np.ndarray:
    sizes, dtype = _sizes(header, data), _dtype(header, data)
    name = read_field(header, "encoding").lower()
    declared = int(np.prod(sizes, dtype=object)) * dtype.itemsize
    stored = data.stat().st_size - start
    if name in TEXT:
        refuse_oversized(data, declared // dtype.itemsize, stored, max_bytes=max_bytes)  # a digit each at least
        return _from_text(_bytes_from(data, start), sizes, dtype, data)
    if name not in ENCODINGS:
        raise InputFileError(
            f"{data} is encoded as {name[:40]!r}", expected=", ".join((*ENCODINGS, *TEXT)), fix="export it again"
        )
    encoding = ENCODINGS[name]
    lines, before = _skips(header, data)
    refuse_oversized(data, declared, stored, encoding=encoding, max_bytes=max_bytes)
    raw = _bytes_from(data, start)
    for _ in range(lines):
        raw = raw[raw.find(b"\n") + 1 :]
    if encoding == "raw":
        raw, before = raw[len(raw) - declared if before < 0 else before :], 0
    plain = decode(raw, declared + before, data, encoding)[before:]
    values = plain.view(dtype) if not before % dtype.itemsize else np.frombuffer(plain.tobytes(), dtype)
    return values.reshape(sizes[::-1]).astype(dtype.newbyteorder("="), copy=False)


def _bytes_from(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _skips(header: Header, path: Path) -> tuple[int, int]:
    """Lines, then bytes, to leave out before the pixels; -1 bytes means the pixels are the end of the file."""
    lines, count = (
        int(read_field(header, f"{unit} skip") or read_field(header, f"{unit}skip") or 0) for unit in ("line", "byte")
    )
    encoded = read_field(header, "encoding").lower() != "raw"
    if not 0 <= lines < 10000 or not (0 if encoded else -1) <= count < 1 << 24:
        raise InputFileError(
            f"{path} skips {lines} lines and {count} bytes", expected="a believable number", fix="export it again"
        )
    return lines, count


def _from_text(raw: bytes, sizes: tuple[int, ...], dtype: np.dtype[np.generic], path: Path) -> np.ndarray:
    try:
        values = np.array(raw.split(), dtype=np.float64)
    except ValueError as error:
        raise InputFileError(
            f"{path} has damaged numbers ({str(error)[:80]})", expected="numbers", fix="export it again"
        ) from None
    count = int(np.prod(sizes, dtype=object))
    if values.size < count:
        raise InputFileError(
            f"{path} ends after {values.size} numbers", expected=f"{count}", fix="copy or export it again"
        )
    return values[:count].astype(dtype).reshape(sizes[::-1])


def read_directions(header: Header, count: int) -> list[np.ndarray | None]:
    """The step along each stored axis, fastest first; None for axes that are no place."""
    stated = header.get("space directions")
    if stated is None:
        return [None] * count
    rows = [None if row is None else np.asarray(row, dtype=np.float64) for row in list(stated)]  # type: ignore[call-overload]
    rows = [None if row is None or not np.isfinite(row).all() else row for row in rows]
    return rows if len(rows) == count else [None] * count


def read_grid(header: Header, size: tuple[int, int, int], placed: Sequence[int], path: Path) -> Grid:
    """The grid of the axes that are places.

    Args:
        header: Its fields.
        size: (D, H, W).
        placed: Which stored axes are x, y and z.
        path: For the message.

    Raises:
        GeometryError: directions that are degenerate or in a space that cannot be placed.
    """
    count = len(np.atleast_1d(np.asarray(header.get("sizes", ()))))
    rows = [read_directions(header, count)[i] for i in placed]
    if any(row is None for row in rows):
        return _grid_of_spacings(header, size, placed, path)
    steps = np.stack([row for row in rows if row is not None])
    if steps.shape[1] == 2:
        return _flat_grid(steps, header, size, path)
    if steps.shape[1] == 4 and not steps[:, 3].any():
        steps = steps[:, :3]  # the fourth axis is time
    turn = _to_lps(read_field(header, "space").lower().removesuffix("-time"))
    if turn is None or steps.shape[1] != 3:
        raise GeometryError(
            f"{path} lies in space {read_field(header, 'space')[:40]!r}",
            expected="left-posterior-superior, or another space of 3 axes",
            fix="export it again",
        )
    if len(steps) == 2:
        normal = np.cross(steps[0], steps[1])
        steps = np.vstack([steps, normal / max(float(np.linalg.norm(normal)), 1e-12)])
    affine = np.eye(4)
    affine[:3, :3] = (turn @ steps.T)[:, ::-1]
    affine[:3, 3] = turn @ _origin(header, 3, path)
    affine[:3] *= _unit(header, path)
    return _placed(size, affine, path)


def _to_lps(space: str) -> np.ndarray | None:
    """(3, 3) from coordinates of a space to LPS; None for a space that is not known."""
    if space in UNNAMED:
        return np.eye(3)
    places = [WORDS.get(word, (9, 0)) for word in SHORT.get(space, space).split("-")]
    if sorted(axis for axis, _ in places) != [0, 1, 2]:
        return None
    turn = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(places):
        turn[axis, column] = sign
    return turn


def _flat_grid(steps: np.ndarray, header: Header, size: tuple[int, int, int], path: Path) -> Grid:
    """A picture in a plane of its own: the slice is taken as 1 mm thick."""
    affine = np.eye(4)
    affine[:2, 1:3] = steps.T[:, ::-1] * _unit(header, path)
    affine[:3, 0], affine[2, 2] = (0, 0, 1), 0
    affine[:2, 3] = _origin(header, 2, path) * _unit(header, path)
    return _placed(size, affine, path)


def _placed(size: tuple[int, int, int], affine: Affine, path: Path) -> Grid:
    try:
        return Grid(size, affine=affine)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error.got}", expected=error.expected, fix=error.fix) from None


def _origin(header: Header, count: int, path: Path) -> np.ndarray:
    origin = np.atleast_1d(np.asarray(header.get("space origin", np.zeros(count)), dtype=np.float64))[:count]
    if origin.shape != (count,) or not np.isfinite(origin).all():
        raise GeometryError(
            f"{path} has the origin {origin.tolist()}", expected=f"{count} numbers", fix="export it again"
        )
    return origin


def _unit(header: Header, path: Path) -> float:
    units = header.get("space units") or header.get("units") or []
    names = {str(unit).strip().lower() for unit in (units if isinstance(units, list) else [units])} or {""}
    if len(names) != 1 or next(iter(names)) not in TO_MM:
        raise GeometryError(
            f"{path} is measured in {sorted(names)}", expected="mm for every axis", fix="export it again"
        )
    return TO_MM[names.pop()]


def _grid_of_spacings(header: Header, size: tuple[int, int, int], placed: Sequence[int], path: Path) -> Grid:
    spacings = np.atleast_1d(np.asarray(header.get("spacings", ()), dtype=np.float64))
    if spacings.size <= max(placed) or not np.isfinite(spacings[list(placed)]).all():
        return Grid(size)
    unit = _unit(header, path)
    xyz = [float(abs(spacings[i])) * unit for i in placed] + [1.0]
    return Grid(size, spacing_mm=(xyz[2], xyz[1], xyz[0]))


def write_values(values: np.ndarray, grid: Grid, path: Path, fields: Sequence[str] = ()) -> None:
    """Write values on a grid in LPS, gzip-compressed; .nhdr puts the pixels beside it as .raw.gz.

    Args:
        values: (D, H, W), or (D, H, W, 3) for colours.
        grid: Without a spacing, the file states none.
        path: .nrrd, .seg.nrrd or .nhdr.
        fields: Further lines of the header.

    Raises:
        OutputError: the disk refused.
    """
    header = [*_fields(values, grid), *fields]
    pixels = compress(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes())
    if path.suffix.lower() != ".nhdr":
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write("\n".join([*header, "", ""]).encode())
            file.write(pixels)
        return
    beside = path.with_suffix(".raw.gz")
    with replacing(path) as temporary, replacing(beside) as temporary_pixels:  # the header comes last
        temporary_pixels.write_bytes(pixels)
        temporary.write_bytes("\n".join([*header, f"data file: {beside.name}", "", ""]).encode())


def _fields(values: np.ndarray, grid: Grid) -> list[str]:
    colours = values.ndim == 4
    sizes = " ".join(str(n) for n in (*((values.shape[-1],) if colours else ()), *grid.shape[::-1]))
    kind = WRITTEN.get(values.dtype.name, values.dtype.name)
    fields = ["NRRD0004", f"type: {kind}", f"dimension: {values.ndim}"]
    if grid.spacing_mm is None:
        fields += [f"sizes: {sizes}"]
    else:
        affine = require_affine(grid)
        steps = [*(["none"] if colours else []), *(_vector(affine[:3, axis]) for axis in (2, 1, 0))]
        fields += ["space: left-posterior-superior", f"sizes: {sizes}", f"space directions: {' '.join(steps)}"]
        fields += [f"space origin: {_vector(affine[:3, 3])}"]
    return [*fields, f"kinds: {'RGB-color ' * colours}domain domain domain", "endian: little", "encoding: gzip"]


def _vector(numbers: np.ndarray) -> str:
    return "({})".format(",".join(repr(float(n)) for n in numbers))
