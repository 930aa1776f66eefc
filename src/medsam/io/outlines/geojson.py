"""GeoJSON as QuPath reads and writes it: polygons in pixels of the whole image, x to the right, y down.

Polygons follow the pixels' own edges, so a label map comes back exactly. Colour and class stand in
properties.classification, the label id in properties.metadata, the slice of a stack in geometry.plane.z. A class that
QuPath derives from another is named by both, as in "Tumor: Positive".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import GeometryError, InputFileError
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid, Mask
from medsam.imaging.palette import choose_color
from medsam.io.codes import read_name, write_name
from medsam.io.formats import WriteOptions
from medsam.io.guard import guarded
from medsam.io.limits import MAX_BYTES, say_size
from medsam.io.outlines.contours import Polygon, Ring, fill, trace
from medsam.io.placement import LabelPainter, Overlap, Segment, choose_segments
from medsam.io.text import read_json

EXPORT_AGAIN = "export it again as GeoJSON"
MAX_SIDE = 1 << 31


@dataclass(frozen=True, eq=False)
class Shape:
    """One object on one slice.

    Args:
        polygon: Its outline in corner coordinates of the whole image.
        segment: What it is.
        plane: The slice of a stack, 0 for a 2D image.
        score: How sure the model was, None if it is not a model's.
    """

    polygon: Polygon
    segment: Segment
    plane: int = 0
    score: float | None = None


def write_mask(mask: Mask, path: Path, options: WriteOptions) -> None:
    """Write every connected piece of every label as one feature."""
    write_shapes(trace_shapes(mask), path, size=mask.grid.shape)


def trace_shapes(mask: Mask) -> Iterator[Shape]:
    """Trace a label map; pieces in the order of slices, then labels."""
    for plane, labels in enumerate(mask.labels):
        for label in np.unique(labels).tolist():
            if label:
                name, color = write_name(label, mask.names), choose_color(label, mask.colors)
                for polygon in trace(labels == label):
                    yield Shape(polygon, Segment(label, name, color), plane)


def write_shapes(shapes: Iterable[Shape], path: Path, *, size: Sequence[int] | None = None) -> None:
    """Write shapes, whole or not at all.

    Args:
        shapes: In the order of the file.
        path: The .geojson file.
        size: (D, H, W) of the image, kept so that a label map can be read back without it.
    """
    head = {"type": "FeatureCollection", **({"image": [int(n) for n in size]} if size is not None else {})}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "features": [')
        for number, shape in enumerate(shapes):
            file.write(
                ("," if number else "") + "\n" + json.dumps(_feature(shape), ensure_ascii=False, allow_nan=False)
            )
        file.write("\n]}\n")


def _feature(shape: Shape) -> Mapping[str, object]:
    segment = shape.segment
    geometry: dict[str, object] = {
        "type": "Polygon",
        "coordinates": [_closed(ring) for ring in shape.polygon.rings],
    }
    if shape.plane:
        geometry["plane"] = {"c": -1, "z": shape.plane, "t": 0}
    properties: dict[str, object] = {
        "objectType": "annotation",
        "classification": {"name": segment.name, "color": list(segment.color or choose_color(segment.label))},
        "metadata": {"label": str(segment.label)},
    }
    if shape.score is not None:
        properties["measurements"] = {"score": round(shape.score, 4)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(ring: Ring) -> list[list[float]]:
    whole = np.equal(np.mod(ring, 1), 0).all()
    points: list[list[float]] = (ring.astype(int) if whole else ring.round(3)).tolist()
    return [*points, points[0]]


def read_segments(
    path: Path, reference: Grid | None, *, only: Sequence[str] | None = None, overlap: Overlap = "refuse"
) -> Mask:
    """Fill the polygons of some classes, or all.

    Args:
        path: A FeatureCollection, a list of features or one feature.
        reference: Grid of the image; needed unless the file states its size.
        only: Class names or label ids to take.
        overlap: What happens to pixels of two classes: "refuse", or the "first" or "last" of them wins.

    Raises:
        InputFileError: not GeoJSON, no size, or classes overlap.
        GeometryError: polygons leave the image.
    """
    shapes, size = read_shapes(path)
    if reference is None and size is None:
        raise GeometryError(
            f"{path.name} states no image size",
            expected="the image it was drawn on",
            fix="pass reference= (--reference)",
        )
    grid = reference or Grid(size)  # type: ignore[arg-type]
    if int(np.prod(grid.shape)) > MAX_BYTES:
        raise GeometryError(
            f"the image has {grid.shape} pixels ({say_size(int(np.prod(grid.shape)))})",
            expected=f"a label map of at most {say_size(MAX_BYTES)}",
            fix="keep it as polygons, or cut out a region",
        )
    segments = list({shape.segment.label: shape.segment for shape in shapes}.values())
    wanted = choose_segments(sorted(segments, key=lambda s: s.label), only, path)
    ranks = {segment.label: rank for rank, segment in enumerate(wanted)}
    painter = LabelPainter(grid, wanted, overlap=overlap)
    for shape in shapes:
        if shape.segment.label in ranks:
            where, region = _filled(shape, grid, path)
            painter.paint(where, region, ranks[shape.segment.label])
    return painter.finish(path)


def _filled(shape: Shape, grid: Grid, path: Path) -> tuple[tuple[int | slice, ...], NDArray[np.bool_]]:
    """The pixels of a shape, cut to its own box, and where that lies."""
    low = np.floor(shape.polygon.outer.min(axis=0)).astype(int)
    high = np.ceil(shape.polygon.outer.max(axis=0)).astype(int)
    depth, height, width = grid.shape
    if (low < 0).any() or high[0] > width or high[1] > height or not 0 <= shape.plane < depth:
        raise GeometryError(
            f"{path.name} has a polygon at x {low[0]} to {high[0]}, y {low[1]} to {high[1]}, slice {shape.plane}",
            expected=f"polygons within {width} x {height} pixels and {depth} slices",
            fix="pass the image they were drawn on as reference",
        )
    region = fill([ring - low for ring in shape.polygon.rings], int(high[1] - low[1]), int(high[0] - low[0]))
    return (shape.plane, slice(low[1], high[1]), slice(low[0], high[0])), region


def read_shapes(path: Path) -> tuple[list[Shape], tuple[int, int, int] | None]:
    """Read polygons without filling them, as for slides too large for a label map.

    Returns:
        The shapes, and (D, H, W) of the image if the file states it. Features that are no areas are passed over.

    Raises:
        InputFileError: not GeoJSON.
    """
    data = read_json(path, "GeoJSON")
    with guarded(path, "GeoJSON of polygons"):
        try:
            features = data if isinstance(data, list) else _mapping(data, strict=True).get("features", [data])
            if not isinstance(features, list):
                raise TypeError("no list of features")
            size = data.get("image") if isinstance(data, dict) else None
            shapes = [shape for feature in _number_classes(features, path) for shape in _shapes(*feature)]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError) as error:
            raise InputFileError(
                f"{path.name} is not GeoJSON of polygons ({type(error).__name__})",
                expected="a FeatureCollection",
                fix=EXPORT_AGAIN,
            ) from None
    if size is not None and not (
        isinstance(size, list) and len(size) == 3 and all(type(n) is int and 0 < n <= MAX_SIDE for n in size)
    ):
        raise InputFileError(f"{path.name} states a wrong image size", expected="three sizes", fix=EXPORT_AGAIN)
    return shapes, (size[0], size[1], size[2]) if size is not None else None


def _number_classes(
    features: Sequence[Mapping[str, object]], path: Path
) -> Iterator[tuple[Mapping[str, object], Segment]]:
    """Each feature with its class; classes without a label id get one, in the order they come.

    Raises:
        InputFileError: one label id for two classes, or features of several times.
    """
    stated = [_class_of(feature) for feature in features]
    taken = {label for label, _, _ in stated if label}
    given = {name: label for label, name, _ in stated if label and name}
    names = {label: name for label, name, _ in stated if label}
    if any(label and names[label] != name for label, name, _ in stated):
        raise InputFileError(
            f"{path.name} gives two classes one label id", expected="a label id for each class", fix=EXPORT_AGAIN
        )
    if len({str(_plane(feature).get("t", 0)) for feature in features}) > 1:
        raise InputFileError(
            f"{path.name} holds objects of several times", expected="those of one time", fix="export each time alone"
        )
    for feature, (own, name, color) in zip(features, stated, strict=True):
        if not own and name not in given:
            given[name] = next(n for n in range(1, len(features) + len(taken) + 2) if n not in taken)
            taken.add(given[name])
        label = own or given[name]
        yield feature, Segment(label, read_name(label, name), color)


def _class_of(feature: Mapping[str, object]) -> tuple[int, str, tuple[int, int, int] | None]:
    """Label id (0 if not stated), class name and colour; QuPath names a derived class by its parts since 0.4."""
    properties = _mapping(feature.get("properties"))
    stated = properties.get("classification")
    classification = {"name": stated} if isinstance(stated, str) else _mapping(stated)
    color = classification.get("color")
    packed = classification.get("colorRGB")  # QuPath before 0.4: one signed 32-bit number
    if color is None and isinstance(packed, int):
        color = [packed >> shift & 255 for shift in (16, 8, 0)]
    parts = classification.get("names")
    derived = ": ".join(str(part) for part in parts) if isinstance(parts, list) else ""
    name = classification.get("name") or derived or properties.get("name") or ""
    label = str(_mapping(properties.get("metadata")).get("label", "0"))
    number = int(label) if label.isascii() and label.isdigit() and len(label) < 10 else 0
    shade = tuple(int(c) & 255 for c in color[:3]) if isinstance(color, list) and len(color) >= 3 else None
    return number, str(name), shade  # type: ignore[return-value]


def _mapping(value: object, *, strict: bool = False) -> Mapping[str, object]:
    if strict and not isinstance(value, dict):
        raise TypeError("no object")
    return value if isinstance(value, dict) else {}


def _plane(feature: Mapping[str, object]) -> Mapping[str, object]:
    return _mapping(_mapping(feature.get("geometry")).get("plane"))


def _shapes(feature: Mapping[str, object], segment: Segment) -> Iterator[Shape]:
    plane = int(str(_plane(feature).get("z", 0)))
    score = _mapping(_mapping(feature.get("properties")).get("measurements")).get("score")
    for rings in _polygons(_mapping(feature.get("geometry"))):
        outer, *holes = [_ring(ring) for ring in rings]
        yield Shape(Polygon(outer, tuple(holes)), segment, plane, score if isinstance(score, float) else None)


def _polygons(geometry: Mapping[str, object]) -> Iterator[Sequence[object]]:
    """The rings of each polygon; points and lines are no areas and are passed over, an unknown kind is an error."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        parts = geometry["geometries"]
        for part in parts if isinstance(parts, list) else []:
            yield from _polygons(_mapping(part, strict=True))
    elif kind in ("Polygon", "MultiPolygon"):
        polygons = [coordinates] if kind == "Polygon" else coordinates
        if not isinstance(polygons, list):
            raise TypeError("no list of polygons")
        yield from polygons
    elif kind not in (None, "Point", "MultiPoint", "LineString", "MultiLineString"):
        raise ValueError("a kind of geometry that is not known")


def _ring(points: object) -> Ring:
    ring = np.array(points, dtype=np.float64)[:, :2]
    if len(ring) < 4 or not np.isfinite(ring).all():
        raise ValueError("a ring")
    return ring[:-1] if (ring[0] == ring[-1]).all() else ring
