"""NRRD, attached (.nrrd) and detached (.nhdr): checked by the header before pixels are read; data beside it only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medsam.errors import GeometryError, InputFileError
from medsam.imaging.image import Affine, Grid, Image, Mask
from medsam.io.atomic import replacing
from medsam.io.formats import ReadOptions, WriteOptions
from medsam.io.labels import labels_of, smallest
from medsam.io.limits import Encoding, confined, decoded, gzipped, head, other_content, refuse_oversized
from medsam.io.placement import affine_of
from medsam.io.volumes import colour_last, one_volume

Header = Mapping[str, object]
MAX_HEADER_BYTES = 16 << 20
ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
TEXT = ("txt", "text", "ascii")
COLOURS = {"rgb-color": 3, "3-color": 3, "rgba-color": 4, "4-color": 4}
PLACED = ("domain", "space", "???", "none", "")  # kinds of axes that are places
# Sign of each space axis in LPS. The last three name no patient; ITK takes them as LPS, and so do we.
SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1), "scanner-xyz": (1, 1, 1), "3d-right-handed": (1, 1, 1),
    "": (1, 1, 1),
}  # fmt: skip
TO_MM = {
    "": 1.0, "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3,
    "micron": 1e-3, "microns": 1e-3, "nm": 1e-6,
}  # fmt: skip


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read values as stored, on the grid of `space directions`, or of `spacings` alone, or of unknown spacing.

    Raises:
        InputFileError: not NRRD, truncated, too large, data outside its folder, or several volumes and none chosen.
        GeometryError: directions that are degenerate or in a space that cannot be placed.
    """
    values, grid = _read(path, options)
    return Image(values, grid)


def read_mask(path: Path, reference: Grid | None, volume: int | None = None) -> Mask:
    """Read a label map; float files are taken where every value is an integer.

    Raises:
        InputFileError: as read_image, or values that are no labels.
    """
    del reference  # the file knows where it lies
    values, grid = _read(path, ReadOptions(volume=volume))
    return Mask(labels_of(values, path), grid)


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write labels in LPS on the mask's own grid; .nhdr puts the pixels beside it as .raw.gz.

    Raises:
        OutputError: the disk refused.
    """
    del options
    labels = smallest(mask.labels)
    sizes = " ".join(str(n) for n in mask.grid.shape[::-1])
    fields = ["NRRD0004", f"type: {labels.dtype.name}", "dimension: 3"]
    if mask.grid.spacing_mm is None:
        fields += [f"sizes: {sizes}", "kinds: domain domain domain"]
    else:
        affine = affine_of(mask.grid)
        columns = [_vector(affine[:3, axis]) for axis in (2, 1, 0)]
        fields += ["space: left-posterior-superior", f"sizes: {sizes}", f"space directions: {' '.join(columns)}"]
        fields += ["kinds: domain domain domain", f"space origin: {_vector(affine[:3, 3])}"]
    fields += ["endian: little", "encoding: gzip"]
    pixels = gzipped(np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("<")).tobytes())
    if path.suffix.lower() != ".nhdr":
        with replacing(path) as temporary:
            temporary.write_bytes("\n".join([*fields, "", ""]).encode() + pixels)
        return
    beside = path.with_suffix(".raw.gz")
    with replacing(beside) as temporary_pixels, replacing(path) as temporary:
        temporary_pixels.write_bytes(pixels)
        temporary.write_bytes("\n".join([*fields, f"data file: {beside.name}", "", ""]).encode())


def _vector(numbers: np.ndarray) -> str:
    return "({})".format(",".join(repr(float(n)) for n in numbers))


def _read(path: Path, options: ReadOptions) -> tuple[np.ndarray, Grid]:
    first = head(path, 540)
    if not first.startswith(b"NRRD000"):
        raise other_content(path, first, "an NRRD file")
    with path.open("rb") as file:
        header = header_of(file, path)
        beside = _text(header, "data file") or _text(header, "datafile")
        data = confined(path, beside) if beside else None
        sizes, dtype = _sizes(header, path), _dtype(header, path)
        start = 0 if data else file.tell()
    values = _pixels(header, sizes, dtype, data or path, start=start, max_bytes=options.max_bytes)
    values, placed = _three_axes(values, header, options, path)
    return values, _grid(header, values.shape[:3], placed, path)


def header_of(file: BinaryIO, path: Path) -> Header:
    """Parse the header and leave the file where the attached pixels begin.

    Raises:
        InputFileError: it is not NRRD's.
    """
    import nrrd

    lines: list[str] = []
    size = 0
    while size < MAX_HEADER_BYTES:
        raw = file.readline(MAX_HEADER_BYTES)
        size += len(raw)
        line = raw.decode("utf-8", "replace").rstrip()
        if not line:
            break
        lines.append(line)
    try:
        header: dict[str, object] = dict(nrrd.read_header(lines))
    except (nrrd.NRRDError, ValueError, KeyError, IndexError, TypeError, AttributeError, StopIteration) as error:
        raise InputFileError(
            f"{path} has a damaged header ({str(error)[:120]})", expected="an NRRD header", fix="export it again"
        ) from None
    return header


def _text(header: Header, key: str) -> str:
    return str(header.get(key, "")).strip()


def _sizes(header: Header, path: Path) -> tuple[int, ...]:
    """As stored, fastest first."""
    sizes = tuple(int(n) for n in np.atleast_1d(np.asarray(header.get("sizes", ()))))
    if not 2 <= len(sizes) <= 5 or min(sizes) < 1:
        raise InputFileError(
            f"{path} has the sizes {sizes}", expected="2 to 5 sizes of at least 1", fix="export it again"
        )
    return sizes


def _dtype(header: Header, path: Path) -> np.dtype[np.generic]:
    from nrrd.reader import _TYPEMAP_NRRD2NUMPY as TYPES

    code: str = TYPES.get(_text(header, "type").lower(), "V")
    endian = _text(header, "endian").lower()
    if code == "V" or (
        code[1:] != "1" and endian not in ("little", "big") and _text(header, "encoding").lower() not in TEXT
    ):
        raise InputFileError(
            f"{path} has type {_text(header, 'type')!r} and endian {endian!r}",
            expected="numbers of a stated byte order",
            fix="export it again",
        )
    return np.dtype((">" if endian == "big" else "<") + code)


def _pixels(
    header: Header, sizes: tuple[int, ...], dtype: np.dtype[np.generic], data: Path, *, start: int, max_bytes: int
) -> np.ndarray:
    name = _text(header, "encoding").lower()
    declared = int(np.prod(sizes, dtype=object)) * dtype.itemsize
    stored = data.stat().st_size - start
    if name in TEXT:
        refuse_oversized(data, declared // dtype.itemsize, stored, max_bytes=max_bytes)  # a digit each at least
        return _from_text(_from(data, start), sizes, dtype, data)
    if name not in ENCODINGS:
        raise InputFileError(
            f"{data} is encoded as {name!r}", expected=", ".join((*ENCODINGS, *TEXT)), fix="export it again"
        )
    encoding = ENCODINGS[name]
    lines, before = _skips(header, data)
    refuse_oversized(data, declared, stored, encoding=encoding, max_bytes=max_bytes)
    raw = _from(data, start)
    for _ in range(lines):
        raw = raw[raw.find(b"\n") + 1 :]
    if encoding == "raw":
        raw, before = raw[len(raw) - declared if before < 0 else before :], 0
    plain = decoded(raw, declared + before, data, encoding)[before:]
    values = plain.view(dtype) if not before % dtype.itemsize else np.frombuffer(plain.tobytes(), dtype)
    return values.reshape(sizes[::-1]).astype(dtype.newbyteorder("="), copy=False)


def _from(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _skips(header: Header, path: Path) -> tuple[int, int]:
    """Lines, then bytes, to leave out before the pixels; -1 bytes means the pixels are the end of the file."""
    lines, count = (
        int(_text(header, f"{unit} skip") or _text(header, f"{unit}skip") or 0) for unit in ("line", "byte")
    )
    encoded = _text(header, "encoding").lower() != "raw"
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


def _kinds(header: Header, count: int) -> list[str]:
    kinds = header.get("kinds", [])
    listed = [str(kind).lower() for kind in kinds] if isinstance(kinds, list) else []
    return listed if len(listed) == count else [""] * count


def _three_axes(values: np.ndarray, header: Header, options: ReadOptions, path: Path) -> tuple[np.ndarray, list[int]]:
    """(D, H, W[, 3]) and, for each of x, y, z, the stored axis it was: colours last, one volume of several."""
    count = values.ndim
    kinds, rows = _kinds(header, count), _directions(header, count)
    placed = [i for i in range(count) if rows[i] is not None] if any(row is not None for row in rows) else []
    placed = placed or [i for i in range(count) if kinds[i] in PLACED]
    colours = (i for i in range(count) if i not in placed and _is_colour(kinds[i], values.shape[count - 1 - i], values))
    colour = next(colours, None)
    if len(placed) > 3:
        placed = placed[:3]
    if len(placed) < 2:
        raise InputFileError(
            f"{path} has axes of kinds {kinds}", expected="two or three axes of kind domain", fix="export it again"
        )
    others = [i for i in range(count) if i not in placed and i != colour]
    order = [*reversed(others), *reversed(placed), *([colour] if colour is not None else [])]
    turned = np.transpose(values, [count - 1 - i for i in order])
    inner = turned.shape[len(others) :]
    if len(placed) == 2:
        inner = (1, *inner)
    return colour_last(one_volume(turned.reshape(-1, *inner), options.volume, path), path), placed


def _is_colour(kind: str, size: int, values: np.ndarray) -> bool:
    """ITK calls the channels of RGB images a vector; other vectors (displacements) are not uint8."""
    return COLOURS.get(kind) == size or (kind == "vector" and size == 3 and values.dtype == np.uint8)


def _directions(header: Header, count: int) -> list[np.ndarray | None]:
    """The step along each stored axis, fastest first; None for axes that are no place."""
    stated = header.get("space directions")
    if stated is None:
        return [None] * count
    rows = [None if row is None else np.asarray(row, dtype=np.float64) for row in list(stated)]  # type: ignore[call-overload]
    rows = [None if row is None or not np.isfinite(row).all() else row for row in rows]
    return rows if len(rows) == count else [None] * count


def _grid(header: Header, shape: tuple[int, ...], placed: list[int], path: Path) -> Grid:
    size = (shape[0], shape[1], shape[2])
    count = len(np.atleast_1d(np.asarray(header.get("sizes", ()))))
    rows = [_directions(header, count)[i] for i in placed]
    if any(row is None for row in rows):
        return _grid_of_spacings(header, size, placed, path)
    steps = np.stack([row for row in rows if row is not None])
    space = _text(header, "space").lower().removesuffix("-time")
    if steps.shape[1] == 2:
        return _flat_grid(steps, header, size, path)
    if steps.shape[1] == 4 and not steps[:, 3].any():
        steps = steps[:, :3]  # the fourth axis is time
    if space not in SPACES or steps.shape[1] != 3:
        raise GeometryError(
            f"{path} lies in space {space!r}",
            expected="left-posterior-superior, or another space of 3 axes",
            fix="export it again",
        )
    if len(steps) == 2:
        normal = np.cross(steps[0], steps[1])
        steps = np.vstack([steps, normal / max(float(np.linalg.norm(normal)), 1e-12)])
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(SPACES[space]) @ steps.T)[:, ::-1]
    affine[:3, 3] = np.diag(SPACES[space]) @ _origin(header, 3, path)
    affine[:3] *= _unit(header, path)
    return _placed(size, affine, path)


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
    origin = np.atleast_1d(np.asarray(header.get("space origin", np.zeros(count)), dtype=np.float64))
    origin = origin[:count]
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


def _grid_of_spacings(header: Header, size: tuple[int, int, int], placed: list[int], path: Path) -> Grid:
    spacings = np.atleast_1d(np.asarray(header.get("spacings", ()), dtype=np.float64))
    if spacings.size <= max(placed) or not np.isfinite(spacings[placed]).all():
        return Grid(size)
    unit = _unit(header, path)
    xyz = [float(abs(spacings[i])) * unit for i in placed] + [1.0]
    return Grid(size, spacing_mm=(xyz[2], xyz[1], xyz[0]))
