"""Surfaces as binary STL in LPS mm, and back to voxels by asking which voxel centres lie inside.

One file holds all labels: each triangle carries its label id in the two bytes that STL leaves free. Kind "per-label"
writes one file per label instead.
Shape legend: T triangles, 3 corners, 3 coordinates; D H W voxels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import GeometryError, InputFileError, MissingDependencyError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Mask
from medsam.io.codes import write_name
from medsam.io.formats import WriteOptions
from medsam.io.limits import refuse_oversized
from medsam.io.placement import LabelPainter, Overlap, Segment, choose_segments

Triangles = NDArray[np.float64]

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("label", "<u2")])
MAX_LABEL = 32767  # bit 15 means "this is a colour" to some programs
NUDGE = (
    np.sqrt(2) * 1e-3,
    np.sqrt(3) * 1e-3,
)  # rays miss the mesh's corners, which lie on the lines between voxel centres
CHUNK = 1 << 21  # candidate pairs of ray and triangle at a time
MAX_PAIRS = 1 << 26  # in all: 200 layers over a slice of 512 x 512, or half a minute


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write the surface of every label, closed and with outward normals.

    Args:
        mask: Labels; ids up to 32767.
        path: The .stl file; with kind "per-label" the label id and name are added to its name.
        options: kind is None or "per-label".

    Raises:
        OutputError: no foreground, a label id too large, or an unknown kind.
        MissingDependencyError: scikit-image is not installed.
    """
    if options.kind not in (None, "per-label"):
        raise OutputError(f"kind is {options.kind!r}", expected="per-label or nothing", fix="leave it out for one file")
    ids = mask.ids
    if not ids or max(ids) > MAX_LABEL:
        raise OutputError(
            f"the mask has {len(ids)} labels up to {max(ids, default=0)}",
            expected=f"foreground, and label ids up to {MAX_LABEL}",
            fix="renumber the labels, or write .seg.nrrd",
        )
    surfaces = [(label, _surface(mask, label)) for label in ids]
    if options.kind is None:
        _write(surfaces, path)
        return
    for label, triangles in surfaces:
        safe = re.sub(r"[^\w-]+", "-", write_name(label, mask.names)).strip("-")
        _write([(label, triangles)], path.with_name(f"{path.stem}-{label}-{safe}{path.suffix}"))


def _surface(mask: Mask, label: int) -> Triangles:
    """(T, 3, 3) LPS mm."""
    try:
        from skimage.measure import marching_cubes
    except ImportError:
        raise MissingDependencyError(
            "scikit-image is not installed", expected="it, to make surfaces", fix="run: pip install scikit-image"
        ) from None
    box = ndimage.find_objects((mask.labels == label).astype(np.uint8))[0]
    region = np.pad(mask.labels[box] == label, 1).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(region, 0.5)
    world = mask.grid.to_world(vertices + [axis.start - 1 for axis in box])
    triangles: Triangles = world[faces]
    outward = _volume(triangles) > 0
    return triangles if outward else triangles[:, ::-1]


def _volume(triangles_T33: Triangles) -> float:
    a, b, c = (triangles_T33 - triangles_T33.mean(axis=(0, 1))).transpose(1, 0, 2)
    return float(np.einsum("ti,ti->", a, np.cross(b, c))) / 6


def _write(surfaces: Sequence[tuple[int, Triangles]], path: Path) -> None:
    facets = np.zeros(sum(len(triangles) for _, triangles in surfaces), dtype=FACET)
    facets["corners"] = np.concatenate([triangles for _, triangles in surfaces])
    facets["label"] = np.repeat([label for label, _ in surfaces], [len(triangles) for _, triangles in surfaces])
    corners = facets["corners"].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    header = b"medsam surface; SPACE=LPS; unit mm; attribute bytes: label id"
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header.ljust(80) + np.uint32(len(facets)).astype("<u4").tobytes())
        facets.tofile(file)


def read_segments(
    path: Path, reference: Grid | None, *, only: Sequence[str] | None = None, overlap: Overlap = "refuse"
) -> Mask:
    """Give the voxels inside some surfaces, or all.

    Args:
        path: A binary or text STL in LPS mm (RAS if its header says SPACE=RAS).
        reference: Grid of the image; a surface has none.
        only: Label ids to take.
        overlap: What happens to voxels inside two surfaces: "refuse", or the "first" or "last" of them wins.

    Raises:
        InputFileError: damaged, or a surface that is not closed.
        GeometryError: no reference, or a surface that leaves it.
    """
    if reference is None:
        raise GeometryError(
            f"{path.name} is a surface without voxels",
            expected="the image it belongs to",
            fix="pass reference= (--reference)",
        )
    triangles, labels = _read(path)
    ids = np.unique(labels).tolist()
    segments = [Segment(label or max(ids) + 1) for label in ids]
    wanted = choose_segments(segments, only, path)
    painter = LabelPainter(reference, wanted, overlap=overlap)
    for label, segment in zip(ids, segments, strict=True):
        if segment in wanted:
            chosen_T33 = triangles[labels == label].reshape(-1, 3)
            index_T33 = reference.to_index(chosen_T33).reshape(-1, 3, 3)
            where, region = _inside(index_T33, reference, path)
            painter.paint(where, region, wanted.index(segment))
    return painter.finish(path)


def _read(path: Path) -> tuple[Triangles, NDArray[np.int64]]:
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    if data[:5].lower() == b"solid" and len(data) != 84 + count * FACET.itemsize:
        numbers = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)
        try:
            corners = np.array(numbers, dtype=np.float64).reshape(-1, 3, 3)
        except ValueError:
            corners = np.zeros((0, 3, 3))
        labels = np.ones(len(corners), dtype=np.int64)
    else:
        refuse_oversized(path, count * FACET.itemsize, max(len(data) - 84, 0))
        facets = np.frombuffer(data, dtype=FACET, count=count, offset=84) if count else np.zeros(0, dtype=FACET)
        corners = facets["corners"].astype(np.float64)
        labels = facets["label"].astype(np.int64)
        if (labels > MAX_LABEL).any():  # colours of another program
            labels[:] = 1
    if not len(corners) or not np.isfinite(corners).all():
        raise InputFileError(f"{path.name} holds no triangles", expected="an STL surface", fix="export it again")
    if b"SPACE=RAS" in data[:80]:
        corners = corners * (-1, -1, 1)
    return corners, labels


def _inside(index_T33: Triangles, grid: Grid, path: Path) -> tuple[tuple[slice, ...], NDArray[np.bool_]]:
    """Voxels inside a closed surface in voxel indices, cut to the surface's box, and where that lies."""
    start = np.ceil(index_T33.min(axis=(0, 1)) - 1e-3)
    end = np.floor(index_T33.max(axis=(0, 1)) + 1e-3)
    if not ((start >= 0) & (end < grid.shape)).all():
        raise GeometryError(
            f"{path.name} spans voxels {start.tolist()} to {end.tolist()} (z, y, x)",
            expected=f"a surface within {grid.shape} voxels",
            fix="pass the image it belongs to as reference",
        )
    low, high = start.astype(int), end.astype(int) + 1
    size = np.maximum(high - low, 0)
    views = (index_T33 - low, size), ((index_T33 - low)[:, :, ::-1], size[::-1])
    if max(int(_candidates(corners, cut)[1].sum()) for corners, cut in views) > MAX_PAIRS:
        raise InputFileError(
            f"{path.name} holds triangles that lie in too many layers over {size.tolist()} voxels",
            expected="closed surfaces",
            fix="clean the surface first",
        )
    along_x, along_z = (_crossed(corners, cut) for corners, cut in views)
    if along_x is None or along_z is None or not np.array_equal(along_x, along_z.transpose(2, 1, 0)):
        raise InputFileError(f"{path.name} holds a surface with gaps", expected="closed surfaces", fix="close it first")
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), along_x


def _crossed(index_T33: Triangles, size: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Voxels before which a ray along the last axis has crossed the surface an odd number of times.

    None if a ray goes in and never comes out.
    """
    crossings = np.zeros((size[0], size[1], size[2] + 1), dtype=np.uint8)
    for z, y, x in _hits(index_T33, size):
        np.add.at(crossings, (z, y, np.clip(np.ceil(x), 0, size[2]).astype(int)), 1)
    inside = (np.cumsum(crossings, axis=2, dtype=np.uint8) & 1).astype(bool)
    return None if inside[:, :, -1].any() else inside[:, :, :-1]


def _hits(
    index_T33: Triangles, size: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Triangles]]:
    """Where rays along x through (nearly) every voxel centre cross triangles: z, y of the ray, x of the crossing."""
    shifted = index_T33 - (*NUDGE, 0.0)
    first, counts, width = _candidates(shifted, size)
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        stop = max(int(np.searchsorted(ends, (ends[start - 1] if start else 0) + CHUNK, side="right")), start + 1)
        part = slice(start, stop)
        owner = np.repeat(np.arange(start, stop), counts[part])
        place = np.arange(len(owner)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        z = first[owner, 0] + place // width[owner]
        y = first[owner, 1] + place % width[owner]
        hit, x = _crossings(shifted[owner], z, y)
        yield z[hit], y[hit], x
        start = stop


def _candidates(
    index_T33: Triangles, size: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each triangle the first z y ray (T, 2) of its box, how many rays are in it, and how many of them along y."""
    first = np.clip(np.ceil(index_T33[:, :, :2].min(axis=1)), 0, size[:2]).astype(np.int64)
    last = np.clip(np.floor(index_T33[:, :, :2].max(axis=1)) + 1, 0, size[:2]).astype(np.int64)
    spans = np.maximum(last - first, 0)
    return first, spans.prod(axis=1), spans[:, 1]


def _crossings(triangles: Triangles, z: NDArray[np.int64], y: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Triangles]:
    """Which rays pass within their triangles, and the x at which those do."""
    sides = np.stack([_side(triangles[:, i], triangles[:, (i + 1) % 3], z, y) for i in range(3)], axis=1)
    positive = sides >= 0
    hit: NDArray[np.bool_] = np.asarray(positive.all(axis=1) | ~positive.any(axis=1))
    weights = sides[hit][:, [1, 2, 0]]
    return hit, (weights * triangles[hit, :, 2]).sum(axis=1) / weights.sum(axis=1)


def _side(a: Triangles, b: Triangles, z: NDArray[np.int64], y: NDArray[np.int64]) -> Triangles:
    """On which side of edge a to b a ray passes; two triangles that share the edge always agree, to the last bit."""
    swap = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    low, high = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    side = (high[:, 0] - low[:, 0]) * (y - low[:, 1]) - (high[:, 1] - low[:, 1]) * (z - low[:, 0])
    side = np.where(side == 0, 1e-300, side)
    return np.where(swap, -side, side)
