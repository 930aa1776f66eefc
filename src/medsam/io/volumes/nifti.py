"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz): stored (i, j, k) becomes values[k, j, i], RAS becomes LPS, nothing is turned."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsam.errors import GeometryError, InputFileError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.image import Affine, Grid, Image
from medsam.io.formats import ReadOptions
from medsam.io.limits import (
    Encoding,
    compress,
    decode,
    describe_content,
    explain_other_content,
    read_head,
    refuse_oversized,
    unfold_head,
)
from medsam.io.volumes.axes import choose_volume

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TO_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: unknown, metre, mm, micrometre
VECTORS = (1007, 2003)  # NIFTI_INTENT_VECTOR, as ITK writes RGB, and NIFTI_INTENT_RGB_VECTOR
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
CONFLICT_MM = 1.0  # quaternions in float32 are good to about 0.1 mm over a body


def read_image(path: Path, options: ReadOptions) -> Image:
    """Read values as stored, scl_slope and scl_inter applied; integers stay integers where the slope is 1.

    Raises:
        InputFileError: not NIfTI, truncated, too large, complex, or several volumes and none chosen.
        GeometryError: a degenerate sform, or header entries that place the voxels differently.
    """
    encoding: Encoding = "gzip" if path.name.lower().endswith(".gz") else "raw"
    header = _header(path, encoding)
    dtype, shape = _dtype(header, path), _shape(header, path)
    offset = int(header["vox_offset"])
    if offset < header.sizeof_hdr:
        raise InputFileError(
            f"{path} keeps its pixels at byte {offset}",
            expected=f"{header.sizeof_hdr} or later, in the same file",
            fix="convert pairs of .hdr and .img, and export damaged files again",
        )
    declared = offset + int(np.prod(shape, dtype=object)) * dtype.itemsize
    refuse_oversized(path, declared, path.stat().st_size, encoding=encoding, max_bytes=options.max_bytes)
    grid = _grid(header, shape, path)
    data = (
        decode(path.read_bytes(), declared, path, encoding)
        if encoding == "gzip"
        else np.fromfile(path, np.uint8, declared)
    )
    channels = dtype.shape  # of RGB
    stored = data[offset:].view(dtype.base).reshape(shape[::-1] + channels)
    return Image(_scaled(_three_axes(stored, header, options, path), header, path), grid)


def write_values(values: np.ndarray, grid: Grid, path: Path) -> None:
    """Write values as they are, sform and qform both set; without a spacing neither is.

    Raises:
        OutputError: the disk refused.
    """
    header = _header_for(grid, RGB if values.ndim == 4 else values.dtype)
    start = header.binaryblock.ljust(int(header["vox_offset"]), b"\0")
    stored = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.name.lower().endswith(".gz"):
            file.write(compress(start + stored.tobytes()))
        else:
            file.write(start)
            file.write(stored.data)


def _header(path: Path, encoding: Encoding) -> Nifti1Header:
    from nibabel import Nifti1Header, Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    expected = "a gzip-compressed NIfTI file" if encoding == "gzip" else "a NIfTI file"
    start = read_head(path, 4096)
    if encoding == "gzip" and not start.startswith(b"\x1f\x8b"):
        raise explain_other_content(path, start, expected)
    first = unfold_head(start, 540) if encoding == "gzip" else start[:540]
    kinds = {b"n+1\0": (Nifti1Header, first[344:348]), b"n+2\0": (Nifti2Header, first[4:8])}
    for magic, (kind, found) in kinds.items():
        if found == magic:
            try:
                return kind.from_fileobj(BytesIO(first[: kind.sizeof_hdr]), check=False)
            except (WrapStructError, HeaderDataError) as error:
                raise InputFileError(
                    f"{path} has a damaged header ({error})", expected=expected, fix="export it again"
                ) from None
    inner = describe_content(first) if encoding == "gzip" else describe_content(start)
    raise InputFileError(
        f"{path} holds {inner}{' in gzip' * (encoding == 'gzip')}",
        expected=expected,
        fix="rename it to its real format, or export it again",
    )


def _dtype(header: Nifti1Header, path: Path) -> np.dtype[np.generic]:
    from nibabel.spatialimages import HeaderDataError

    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise InputFileError(
            f"{path} has data type code {int(header['datatype'])}", expected="a NIfTI data type", fix="export it again"
        ) from None
    if dtype.kind not in "uifV" or dtype.itemsize == 0:
        raise InputFileError(
            f"{path} holds {dtype} pixels",
            expected="integers, floats or RGB",
            fix="take the magnitude of complex data first",
        )
    return np.dtype((np.uint8, (len(dtype.names),))) if dtype.names else dtype


def _shape(header: Nifti1Header, path: Path) -> tuple[int, ...]:
    """Sizes as stored, (i, j, k, t, ...)."""
    count = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : 1 + count]) if 2 <= count <= 7 else ()
    if not shape or min(shape) < 1:
        raise InputFileError(
            f"{path} has the sizes {header['dim'].tolist()}",
            expected="2 to 7 sizes of at least 1",
            fix="export it again",
        )
    return shape


def _three_axes(stored: np.ndarray, header: Nifti1Header, options: ReadOptions, path: Path) -> np.ndarray:
    """(..., t, k, j, i[, channel]) to (k, j, i[, 3]): one volume, alpha dropped."""
    count = int(header["dim"][0])
    sizes, channels = stored.shape[:count], stored.shape[count:]
    if count == 5 and sizes[:2] == (3, 1) and int(header["intent_code"]) in VECTORS and stored.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(stored[:, 0], 0, -1))
    inner = (1,) * max(0, 3 - count) + sizes[-3:]
    volume = choose_volume(stored.reshape(-1, *inner, *channels), options.volume, path)
    return volume[..., :3] if channels else volume


def _scaled(stored: np.ndarray, header: Nifti1Header, path: Path) -> np.ndarray:
    values: np.ndarray = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        values = values.astype(np.float64)
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope) or (slope, inter) == (1.0, 0.0) or values.ndim == 4:
        return values  # the standard: slope 0 (and by custom NaN) means no scaling
    if not np.isfinite(inter):
        raise InputFileError(f"{path} has scl_inter {inter}", expected="a finite number", fix="export it again")
    whole = values.dtype.kind in "ui"
    if slope == 1 and inter.is_integer() and abs(inter) < 1 << 30 and whole and values.dtype.itemsize <= 2:
        shifted = values.astype(np.int32) + np.int32(inter)
        narrow = np.iinfo(np.int16).min <= shifted.min() and shifted.max() <= np.iinfo(np.int16).max
        return shifted.astype(np.int16) if narrow else shifted
    wide = np.float64 if values.dtype.itemsize > (2 if whole else 4) else np.float32
    scaled: np.ndarray = values.astype(wide)
    scaled *= slope
    scaled += inter
    return scaled


def _grid(header: Nifti1Header, shape: tuple[int, ...], path: Path) -> Grid:
    """Sform where set, else qform, else the spacing alone on patient axes (as ITK takes such files)."""
    size = (shape[2] if len(shape) > 2 else 1, shape[1], shape[0])
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    unit = TO_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if sform and qform and not np.any(header.get_sform()[:3, :3]):
        sform = False  # some programs set the code and leave the numbers at zero
    if size[0] == 1 and not pixdim[2] > 0:
        pixdim[2] = 1.0
    if not sform and not qform:
        if (pixdim == 1).all() and int(header["xyzt_units"]) & 7 == 0:
            return Grid(size)  # nobody ever said how large a voxel is
        return Grid(size, spacing_mm=(pixdim[2] * unit, pixdim[1] * unit, pixdim[0] * unit))
    affine = np.array(header.get_sform(), dtype=np.float64) if sform else _qform(header, pixdim, path)
    if size[0] == 1 and not np.linalg.norm(affine[:3, 2]) > 0:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / max(float(np.linalg.norm(normal)), 1e-12)  # one slice: its thickness is not known
    grid = _lps(affine, unit, size, path)
    if sform:
        _refuse_conflict(header, grid, pixdim, unit, path)
    return grid


def _qform(header: Nifti1Header, pixdim: np.ndarray, path: Path) -> Affine:
    fixed = header.copy()
    fixed["pixdim"][0] = -1 if header["pixdim"][0] < 0 else 1
    fixed["pixdim"][1:4] = pixdim
    try:
        return np.array(fixed.get_qform(), dtype=np.float64)
    except ValueError as error:
        raise GeometryError(
            f"{path} has a damaged qform ({error})", expected="a unit quaternion", fix="export it again"
        ) from None


def _lps(affine_ijk: Affine, unit: float, size: tuple[int, int, int], path: Path) -> Grid:
    affine = TO_LPS @ affine_ijk
    affine[:3] *= unit
    try:
        return Grid(size, affine=affine[:, [2, 1, 0, 3]])
    except GeometryError as error:
        raise GeometryError(f"{path}: {error.got}", expected=error.expected, fix=error.fix) from None


def _refuse_conflict(header: Nifti1Header, grid: Grid, pixdim: np.ndarray, unit: float, path: Path) -> None:
    """An sform of another space than the qform (aligned, MNI) may differ from it; one of the same space may not."""
    code = int(header["sform_code"])
    assert grid.spacing_mm is not None  # noqa: S101 - made from an affine
    spacing = np.array(grid.spacing_mm[::-1])
    stated = pixdim * unit
    apart = [i for i in range(3) if grid.shape[2 - i] > 1 and abs(spacing[i] - stated[i]) > 0.01 * spacing[i]]
    if code in (1, 2) and apart:
        raise GeometryError(
            f"{path} has the spacing {stated.tolist()} mm in pixdim and {spacing.tolist()} mm in its sform",
            expected="one spacing",
            fix="correct the header, for example with nibabel's set_sform or set_zooms",
        )
    if int(header["qform_code"]) != code or _sheared(grid):
        return
    other = _lps(_qform(header, pixdim, path), unit, grid.shape, path)
    distance = grid.max_distance_mm(other)
    if distance > max(CONFLICT_MM, 0.5 * spacing.min()):
        raise GeometryError(
            f"{path} has an sform and a qform of the same kind (code {code}) that lie {distance:.1f} mm apart",
            expected="one place for each voxel",
            fix="set the code of the wrong one to 0",
        )


def _sheared(grid: Grid) -> bool:
    assert grid.affine is not None  # noqa: S101 - Grid always sets it
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return not np.allclose(axes.T @ axes, np.eye(3), atol=1e-5)


def _header_for(grid: Grid, dtype: np.dtype[np.generic]) -> Nifti1Header:
    from nibabel import Nifti1Header, Nifti2Header

    shape = grid.shape[::-1]
    header = (Nifti2Header if max(shape) > np.iinfo(np.int16).max else Nifti1Header)(endianness="<")
    if max(shape) > np.iinfo(np.int32).max:
        raise OutputError(f"the grid has shape {grid.shape}", expected="sizes below 2^31", fix="split it")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["vox_offset"] = 544 if max(shape) > np.iinfo(np.int16).max else 352
    header["descrip"] = b"medsam"
    header.set_slope_inter(1, 0)
    if grid.spacing_mm is None:
        return header
    assert grid.affine is not None  # noqa: S101 - Grid always sets it
    affine = TO_LPS @ grid.affine[:, [2, 1, 0, 3]]
    header.set_xyzt_units("mm")
    header["pixdim"][1:4] = grid.spacing_mm[::-1]
    header.set_qform(affine, code=0 if _sheared(grid) else 1, strip_shears=True)
    header["pixdim"][1:4] = grid.spacing_mm[::-1]
    header.set_sform(affine, code=1)
    return header
