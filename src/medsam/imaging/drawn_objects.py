"""Objects drawn slice by slice, as a user writes them, turned into prompts; the local and the remote way share it.

Shape legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real

import numpy as np

from medsam.errors import PromptError
from medsam.imaging.boxes import Box, to_numpy, validate_boxes
from medsam.imaging.prompts import Prompt

BOXES_FIX = "pass boxes={slice: [(x0, y0, x1, y1), ...]}"
BOX3D_FIX = "pass box3d=[(x0, y0, z0, x1, y1, z1), ...]"
POINTS_FIX = "pass points={slice: [(x, y, 1), ...]}"


def make_object_prompts(
    shape_DHW: tuple[int, int, int], *, boxes: Mapping[int, Sequence[Box | None]] | None = None,
    box3d: Sequence[Sequence[float]] | None = None, points: Mapping[int, Sequence[object]] | None = None,
    labels: Sequence[int] | None = None,
) -> list[list[Prompt]]:  # fmt: skip
    """The prompts of each object, in the order of the objects.

    Args:
        shape_DHW: Of the volume, its slices first.
        boxes: As segment_volume.
        box3d: As segment_volume.
        points: As segment_volume.
        labels: As segment_volume.

    Raises:
        PromptError: no prompts, or prompts that do not fit the volume.
    """
    solids = _solids(box3d)
    drawn = _drawn(shape_DHW, boxes, points)
    if bool(solids) == bool(drawn):
        got = "3D boxes together with boxes or points" if solids else "no prompts"
        raise PromptError(got, expected="boxes and points on slices, or 3D boxes", fix=BOXES_FIX)
    objects = drawn or solids
    ids = _label_ids(labels, max(objects))
    return [[replace(prompt, label=ids[i - 1]) for prompt in prompts] for i, prompts in sorted(objects.items())]


def _drawn(
    shape_DHW: tuple[int, int, int], boxes: Mapping[int, Sequence[Box | None]] | None,
    points: Mapping[int, Sequence[object]] | None,
) -> dict[int, list[Prompt]]:  # fmt: skip
    """Number of an object, from 1, to its prompts."""
    depth, height, width = shape_DHW
    rows = {k: [_box(box, height, width) for box in row] for k, row in _by_slice(boxes, depth, "boxes", BOXES_FIX)}
    dots = {k: [_points(one) for one in _nested(row)] for k, row in _by_slice(points, depth, "points", POINTS_FIX)}
    drawn: dict[int, list[Prompt]] = {}
    for k in sorted({*rows, *dots}):
        row, lists = rows.get(k, []), dots.get(k, [])
        for i in range(max(len(row), len(lists))):
            box, spots = row[i] if i < len(row) else None, lists[i] if i < len(lists) else ()
            if box is not None or spots:
                xy, signs = tuple((x, y) for x, y, _ in spots), tuple(int(sign) for _, _, sign in spots)
                drawn.setdefault(i + 1, []).append(Prompt(i + 1, slice=k, box=box, points=xy, point_labels=signs))
    return drawn


def _by_slice(prompts: object, depth: int, name: str, fix: str) -> Iterator[tuple[int, Sequence[object]]]:
    """Slices and what was drawn on them; one flat box counts as a list of one."""
    if prompts is None:
        return
    if not isinstance(prompts, Mapping):
        raise PromptError(f"{name} are a {type(prompts).__name__}", expected="a dict of slices", fix=fix)
    for k, drawn in prompts.items():
        index, row = _slice(k, depth), to_numpy(drawn)
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
    box = to_numpy(box)
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


def _nested(row: Sequence[object]) -> Sequence[object]:
    """One list of points for each object; a flat list of x, y, label is the first object's."""
    flat = len(row) and np.ndim(row[0]) == 1 and len(row[0])  # type: ignore[arg-type]
    return [row] if flat else row


def _points(points: object) -> list[tuple[float, float, float]]:
    try:
        array = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size == 0 and np.size(points) == 0:  # type: ignore[arg-type]
        return []
    if array.ndim != 2 or array.shape[1] != 3 or not np.isin(array[:, 2], (0, 1)).all():
        raise PromptError(
            f"points are {points!r:.60}",
            expected="x, y, 1 (inside) or 0 (outside) for each",
            fix=POINTS_FIX,
        )
    return [(float(x), float(y), float(label)) for x, y, label in array]


def _solids(box3d: object) -> dict[int, list[Prompt]]:
    """Number of an object, from 1, to its 3D box."""
    if box3d is None:
        return {}
    solids = to_numpy(box3d)
    listed = list(solids) if isinstance(solids, Iterable) else [solids]
    one = len(listed) == 6 and all(isinstance(v, Real) for v in listed)
    each = [listed] if one else [to_numpy(numbers) for numbers in listed]
    return {i: [_solid(numbers, i)] for i, numbers in enumerate(each, start=1)}


def _solid(numbers: object, i: int) -> Prompt:
    listed = isinstance(numbers, (Sequence, np.ndarray))
    if not listed or len(numbers) != 6 or not all(isinstance(v, Real) for v in numbers):  # type: ignore[arg-type, attr-defined]
        raise PromptError(f"a 3D box is {numbers!r:.60}", expected="six numbers in a list of 3D boxes", fix=BOX3D_FIX)
    x0, y0, z0, x1, y1, z1 = (float(v) for v in numbers)  # type: ignore[attr-defined]
    return Prompt(i, box_3d=(x0, y0, z0, x1, y1, z1))


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
