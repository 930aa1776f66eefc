"""Prompts that other programs write, as rows of ours: COCO annotations, labelme, 3D Slicer's fiducials and ROIs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from medsam.errors import InputFileError, PromptError
from medsam.imaging.image import Grid
from medsam.io.markups import find_box_on_slices, parse_markups
from medsam.io.prompt_rows import Row


def list_coco_rows(raw: Mapping[str, object], source: Path) -> list[tuple[str, Row]]:
    """Take the boxes of COCO annotations; the objects of an image are numbered from 1, and named by their categories.

    Raises:
        InputFileError: an annotation without a box of x, y, width, height, or of an image that is not listed.
    """
    files = {_get(i, "id"): str(_get(i, "file_name") or "") for i in _list(raw.get("images"))}
    names = {_get(c, "id"): str(_get(c, "name") or "") for c in _list(raw.get("categories"))}
    counts: Counter[str] = Counter()
    rows: list[tuple[str, Row]] = []
    for number, annotation in enumerate(_list(raw.get("annotations")), start=1):
        box, image = _get(annotation, "bbox"), _get(annotation, "image_id")
        numbers = isinstance(box, list) and all(isinstance(v, int | float) for v in box)
        if not isinstance(box, list) or not numbers or len(box) != 4 or (files and image not in files):
            raise InputFileError(
                f"{source}, annotation {number} has no box of a listed image",
                expected="bbox [x, y, width, height] and the image_id of one of the images",
                fix="export it again",
            )
        file = files.get(image, "")
        counts[file] += 1
        x, y, width, height = (float(v) for v in box)
        row: Row = {"box": [x, y, x + width, y + height], "label": counts[file]}
        row |= {
            key: text
            for key, text in (("image", file), ("name", names.get(_get(annotation, "category_id"), "")))
            if text
        }
        rows.append((f"annotation {number}", row))
    return rows


def list_labelme_rows(raw: Mapping[str, object], source: Path) -> list[tuple[str, Row]]:
    """Take rectangles and points; every rectangle is an object, and points belong to the one object of their label.

    Raises:
        InputFileError: other shapes, which are no prompts.
    """
    image = str(raw.get("imagePath") or "").replace("\\", "/").rsplit("/", maxsplit=1)[-1]
    rows: list[tuple[str, Row]] = []
    for number, shape in enumerate(_list(raw.get("shapes")), start=1):
        kind, points = _get(shape, "shape_type"), _list(_get(shape, "points"))
        name = str(_get(shape, "label") or "")
        if kind == "rectangle" and len(points) == 2:
            box = [side for point in points for side in _list(point)]
            rows.append((f"shape {number}", {"box": box, "label": len(rows) + 1, "name": name}))
        elif kind == "point" and len(points) == 1:
            own = [row for _, row in rows if row["name"] == name]
            if len(own) != 1:
                own = [{"label": len(rows) + 1, "name": name}]
                rows.append((f"shape {number}", own[0]))
            own[0]["points"] = [*_list(own[0].get("points")), points[0]]
        else:
            raise InputFileError(
                f"{source}, shape {number} is a {str(kind)[:20]} of {len(points)} points",
                expected="rectangles and points",
                fix="draw a rectangle around it",
            )
    return [(where, {**row, **({"image": image} if image else {})}) for where, row in rows]


def list_markup_rows(raw: object, source: Path, grid: Grid | None) -> list[tuple[str, Row]]:
    """Take fiducials and ROIs; every list of points and every ROI is an object.

    Raises:
        InputFileError: no grid, or markups of other kinds alone.
        PromptError: an ROI that leaves the slices of the image.
    """
    if grid is None:
        raise InputFileError(
            f"{source} holds positions in the patient",
            expected="the one image that they lie in",
            fix="give one image, or write the prompts in pixels",
        )
    rows: list[tuple[str, Row]] = []
    label = 0
    for number, markup in enumerate(parse_markups(raw, source), start=1):
        where = f"markup {number}"
        if markup.kind == "ROI":
            label += 1
            slices, (x0, y0, x1, y1) = find_box_on_slices(markup, grid)
            if slices[0] < 0 or slices[-1] >= grid.shape[0]:
                raise PromptError(
                    f"{source}, {where} leaves the slices of the image",
                    expected=f"an ROI within slices 0 to {grid.shape[0] - 1}",
                    fix="check that it belongs to this image",
                )
            rows.append((where, {"box": [x0, y0, slices[0], x1, y1, slices[-1]], "label": label}))
        elif markup.kind == "Fiducial" and len(markup.points_mm):
            label += 1
            by_slice: dict[int, list[object]] = {}
            for z, y, x in grid.to_index(markup.points_mm).tolist():
                by_slice.setdefault(round(z), []).append([x, y])
            rows += [(where, {"points": points, "slice": k, "label": label}) for k, points in by_slice.items()]
    if not rows:
        raise InputFileError(
            f"{source} holds no fiducial and no ROI",
            expected="markups of type Fiducial or ROI",
            fix="draw them, or give lines to medsam annotate",
        )
    return rows


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _get(value: object, key: str) -> object:
    """A field of an object; None where there is none, or where it cannot be looked up by."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return str(found) if key in ("id", "image_id", "category_id") else found
