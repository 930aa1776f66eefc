"""Segment a volume from prompts on its slices: each slice is encoded once for all objects, slices in batches.

Shape legend: D slices, H rows, W columns, N prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import get_args

import numpy as np

from medsam.errors import PromptError
from medsam.imaging.boxes import plain, validate_boxes, validate_points
from medsam.imaging.image import Image, Mask
from medsam.inference.cache import EmbeddingCache
from medsam.inference.painting import Box, Canvas, ObjectPrompt, Overlap, Plan, Point, Progress, segment_slices
from medsam.inference.predictor import Predictor
from medsam.inference.propagate import Box3D, interpolate_boxes, parse_box3d, sweep_boxes

BOXES_FIX = "pass boxes={slice: [(x0, y0, x1, y1), ...]}"
BOX3D_FIX = "pass box3d=[(x0, y0, z0, x1, y1, z1), ...]"
POINTS_FIX = "pass points={slice: [(x, y, 1), ...]}"


def segment_volume(
    predictor: Predictor, image: Image, *, boxes: Mapping[int, Sequence[Box | None]] | None = None,
    box3d: Sequence[Sequence[float]] | None = None, points: Mapping[int, Sequence[object]] | None = None,
    labels: Sequence[int] | None = None, interpolate: bool = False, plane: str | int = 0, overlap: Overlap = "later",
    cache: EmbeddingCache | None = None, progress: bool | Progress = False,
) -> Mask:  # fmt: skip
    """Segment a volume from boxes, points or 3D boxes.

    Args:
        image: Normalized (uint8); its values may be memory-mapped.
        boxes: Slice to boxes; box i on each slice is object i and becomes label i + 1. None where it has no box there;
            four numbers are one box.
        box3d: One (x0, y0, z0, x1, y1, z1) for each object, or six numbers for one; z inclusive, in place of boxes and
            points.
        points: Slice to (x, y, 1 or 0) of the first object, or to one such list for each object.
        labels: Label ids in place of 1, 2, ...
        interpolate: Also segment the slices between marked ones, with boxes between theirs.
        plane: "axial", "coronal", "sagittal" or an array axis.
        overlap: Where objects meet, the "later" one wins, as in LiteMedSAM, or the more "certain" by its logit.
        cache: Keeps embeddings for the next prompt on the same scan.
        progress: True for a bar, or a function of (slices done, slices in all).

    Raises:
        PromptError: no prompts, or prompts that do not fit the volume. IntensityError: not normalized.
    """
    _refuse_unknown(overlap)
    axis = image.grid.axis_named(plane) if isinstance(plane, str) else _axis(plane)
    sliced = image.moved_axis(axis)
    solids = _solids(box3d, sliced.grid.shape)
    plan = make_plan(sliced.grid.shape, boxes, points, interpolate=interpolate)
    if bool(solids) == bool(plan):
        got = "3D boxes together with boxes or points" if solids else "no prompts"
        raise PromptError(got, expected="boxes and points on slices, or 3D boxes", fix=BOXES_FIX)
    _refuse_raw(image)
    ids = _label_ids(labels, max([len(solids), *(p.number for row in plan.values() for p in row)]))
    out = np.zeros(image.grid.shape, dtype=np.uint8 if max(*ids, len(ids)) < 256 else np.uint16)
    canvas = Canvas(np.moveaxis(out, axis, 0), overlap)
    with _progress(progress) as report:
        if solids:
            sweep_boxes(predictor, sliced, solids, canvas, cache=cache, progress=report)
        else:
            segment_slices(predictor, sliced, plan, canvas, cache=cache, progress=report)
    if ids != list(range(1, len(ids) + 1)):
        table = np.array([0, *ids], dtype=out.dtype)
        for part in out:
            part[...] = table[part]
    return Mask(out, image.grid)


def make_plan(
    shape_DHW: tuple[int, int, int], boxes: Mapping[int, Sequence[Box | None]] | None,
    points: Mapping[int, Sequence[object]] | None = None, *, interpolate: bool = False,
) -> Plan:  # fmt: skip
    """Check boxes and points against a volume and sort them by slice; see segment_volume.

    Raises:
        PromptError: a slice that is not there, or a box or point outside its slice.
    """
    depth, height, width = shape_DHW
    drawn = {k: [_box(box, height, width) for box in row] for k, row in _by_slice(boxes, depth, "boxes", BOXES_FIX)}
    filled = interpolate_boxes(drawn) if interpolate else drawn
    dots = {k: _point_lists(row, height, width) for k, row in _by_slice(points, depth, "points", POINTS_FIX)}
    plan: dict[int, list[ObjectPrompt]] = {}
    for k in sorted({*filled, *dots}):
        row, lists = filled.get(k, []), dots.get(k, [])
        for i in range(max(len(row), len(lists))):
            box = row[i] if i < len(row) else None
            spots = lists[i] if i < len(lists) else ()
            if box is not None or spots:
                plan.setdefault(k, []).append(ObjectPrompt(i + 1, box, spots))
    return plan


def _by_slice(prompts: object, depth: int, name: str, fix: str) -> Iterator[tuple[int, Sequence[object]]]:
    """Slices and what was drawn on them; one flat box counts as a list of one."""
    if prompts is None:
        return
    if not isinstance(prompts, Mapping):
        raise PromptError(f"{name} are a {type(prompts).__name__}", expected="a dict of slices", fix=fix)
    for k, drawn in prompts.items():
        index, row = _slice(k, depth), plain(drawn)
        if not isinstance(row, (Sequence, np.ndarray)) or isinstance(row, str):
            raise PromptError(f"{name} on slice {index} are {row!r:.60}", expected="a list", fix=fix)
        one = len(row) == 4 and all(isinstance(v, Real) for v in row)
        yield index, [row] if one else list(row)


def _slice(k: object, depth: int) -> int:
    if not isinstance(k, (int, np.integer)) or not 0 <= k < depth:
        raise PromptError(
            f"slice is {k}", expected=f"a whole number from 0 to {depth - 1}", fix="choose a slice of the image"
        )
    return int(k)


def _box(box: object, height: int, width: int) -> Box | None:
    if box is None:
        return None
    box = plain(box)
    if not isinstance(box, (Sequence, np.ndarray)) or isinstance(box, str):
        raise PromptError(f"a box is {box!r:.60}", expected="four numbers x0, y0, x1, y1", fix=BOXES_FIX)
    boxes_N4 = validate_boxes(box, height, width)
    if len(boxes_N4) != 1:
        raise PromptError(
            f"{len(boxes_N4)} boxes in place of one",
            expected="a list of boxes for each slice",
            fix=BOXES_FIX,
        )
    x0, y0, x1, y1 = (float(v) for v in boxes_N4[0])
    return x0, y0, x1, y1


def _point_lists(row: Sequence[object], height: int, width: int) -> list[tuple[Point, ...]]:
    """Points of each object; a flat list of x, y, label is the first object's."""
    if len(row) and np.ndim(row[0]) == 1 and len(row[0]):  # type: ignore[arg-type]
        row = [row]
    return [_points(points, height, width) for points in row]


def _points(points: object, height: int, width: int) -> tuple[Point, ...]:
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size == 0 and np.size(points) == 0:  # type: ignore[arg-type]
        return ()
    if array.ndim != 2 or array.shape[1] != 3 or not np.isin(array[:, 2], (0, 1)).all():
        raise PromptError(
            f"points are {points!r:.60}",
            expected="x, y, 1 (inside) or 0 (outside) for each",
            fix=POINTS_FIX,
        )
    validate_points(array[:, :2], height, width)
    return tuple((float(x), float(y), int(label)) for x, y, label in array)


def _solids(box3d: object, shape_DHW: tuple[int, int, int]) -> list[Box3D]:
    if box3d is None:
        return []
    solids = plain(box3d)
    listed = list(solids) if isinstance(solids, Iterable) else [solids]
    one = len(listed) == 6 and all(isinstance(v, Real) for v in listed)
    return [_solid(plain(numbers), shape_DHW) for numbers in ([listed] if one else listed)]


def _solid(numbers: object, shape_DHW: tuple[int, int, int]) -> Box3D:
    listed = isinstance(numbers, (Sequence, np.ndarray))
    if not listed or len(numbers) != 6 or not all(isinstance(v, Real) for v in numbers):  # type: ignore[arg-type, attr-defined]
        raise PromptError(f"a 3D box is {numbers!r:.60}", expected="six numbers in a list of 3D boxes", fix=BOX3D_FIX)
    return parse_box3d(numbers, shape_DHW)  # type: ignore[arg-type]


def _axis(plane: int) -> int:
    if plane not in (0, 1, 2):
        raise PromptError(
            f"plane is {plane}", expected="axial, coronal, sagittal, or an array axis 0, 1 or 2", fix="choose one"
        )
    return int(plane)


def _refuse_unknown(overlap: object) -> None:
    if overlap not in get_args(Overlap):
        raise PromptError(f"overlap is {overlap!r:.60}", expected="later or certain", fix="choose one of them")


def _label_ids(labels: Sequence[int] | None, count: int) -> list[int]:
    if labels is None:
        return list(range(1, count + 1))
    ids = [int(i) for i in labels]
    if len(ids) < count or not all(0 < i < 2**16 for i in ids):
        raise PromptError(
            f"labels are {ids}",
            expected=f"an id from 1 to 65535 for each of the {count} objects",
            fix="give one label for each object",
        )
    return ids


def _refuse_raw(image: Image) -> None:
    image.slice_rgb(0)  # raises IntensityError where the values are not uint8 yet


@contextmanager
def _progress(progress: bool | Progress) -> Iterator[Progress | None]:
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield None
        return
    from rich.progress import Progress as Bar

    with Bar(transient=True) as bar:
        task = bar.add_task("slices")
        yield lambda done, total: bar.update(task, completed=done, total=total)
