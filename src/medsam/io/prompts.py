"""Prompts from a JSON or CSV file, ours or another program's (docs/formats.md, Prompts)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medsam.errors import InputFileError, MedsamError, PromptError
from medsam.imaging.image import Grid
from medsam.imaging.prompts import Prompt
from medsam.io.guard import guarded
from medsam.io.limits import require_file
from medsam.io.prompt_forms import list_coco_rows, list_labelme_rows, list_markup_rows
from medsam.io.prompt_rows import KEYS, Row, make_prompt
from medsam.io.text import read_json, read_rows

COLUMNS = ("image", "slice", "label", "name", "color", "code", "x0", "y0", "x1", "y1", "z0", "z1", "x", "y", "positive")
EXPECTED = "a JSON or CSV file of prompts"


def read_prompts(path: str | Path, grid: Grid | None = None) -> list[Prompt]:
    """Read prompts.

    Args:
        path: `.json`: {"prompts": [{"box": [x0, y0, x1, y1], "points": [[x, y, 1]], "slice": 3, "label": 1, "image":
            "a.png"}]}, COCO annotations with boxes, labelme's rectangles and points, or 3D Slicer's fiducials and ROIs;
            `.csv`: a header of x0, y0, x1, y1 (and z0, z1) or x, y, positive, with slice, label, name and image where
            needed. CSV point rows of the same image, slice and label are one prompt.
        grid: Of the image, slices first: 3D Slicer's markups lie in the patient and need it.

    Raises:
        InputFileError: missing, not JSON or CSV, an unknown column, or markups without a grid.
        PromptError: a row that is no prompt; the message names the row.
    """
    source = require_file(path, EXPECTED)
    suffix = source.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise InputFileError(
            f"{source} has the suffix {source.suffix!r}", expected=".json or .csv", fix="rename or convert it"
        )
    with guarded(source, EXPECTED):
        rows = _json_rows(source, grid) if suffix == ".json" else _csv_rows(source)
        prompts = [_prompt(source, where, row, number) for number, (where, row) in enumerate(rows, start=1)]
    if not prompts:
        raise InputFileError(f"{source} holds no prompt", expected="at least one", fix="add a box or a point")
    return prompts


def needs_grid(path: str | Path) -> bool:
    """Whether a file of prompts is 3D Slicer's, whose positions can only be read with the grid of the image.

    Raises:
        InputFileError: as read_prompts, for a file that is no JSON.
    """
    if Path(path).suffix.lower() != ".json":
        return False
    raw = read_json(path, '{"prompts": [...]}')
    return isinstance(raw, Mapping) and "markups" in raw


def _json_rows(source: Path, grid: Grid | None) -> list[tuple[str, Row]]:
    raw = read_json(source, '{"prompts": [...]}')
    if isinstance(raw, Mapping):
        if "annotations" in raw:
            return list_coco_rows(raw, source)
        if "shapes" in raw:
            return list_labelme_rows(raw, source)
        if "markups" in raw:
            return list_markup_rows(raw["markups"], source, grid)
        raw = raw.get("prompts")
    if not isinstance(raw, list):
        raise InputFileError(
            f"{source} has no list of prompts", expected='{"prompts": [...]}', fix="see docs/formats.md, Prompts"
        )
    named: dict[str, int] = {}
    rows = []
    for number, row in enumerate(raw, start=1):
        where = f"prompt {number}"
        if not isinstance(row, Mapping):
            raise PromptError(
                f"{source}, {where}: not an object",
                expected=f"some of {', '.join(KEYS)}",
                fix="see docs/formats.md, Prompts",
            )
        rows.append((where, _numbered(row, named)))
    return rows


def _numbered(row: Mapping[str, object], named: dict[str, int]) -> Row:
    """A label that is a text is the name of the object; names are numbered as they come."""
    label = row.get("label")
    if not isinstance(label, str) or label.strip().isdigit():
        return dict(row)
    number = named.setdefault(label, len(named) + 1)
    return {**row, "label": number, "name": row.get("name", label)}


def _csv_rows(source: Path) -> list[tuple[str, Row]]:
    columns, rows = read_rows(source, "a CSV file of prompts")
    unknown = columns - set(COLUMNS)
    if unknown or not columns:
        raise InputFileError(
            f"{source} has the columns {', '.join(sorted(columns))[:200] or 'none'}",
            expected=f"some of {', '.join(COLUMNS)}",
            fix="see docs/formats.md, Prompts",
        )
    merged: dict[tuple[str, str, str], tuple[str, Row]] = {}
    counts: dict[str, int] = {}
    for line, filled in rows:
        image = filled.get("image", "")
        counts[image] = counts.get(image, 0) + ("x0" in filled)
        label = filled.get("label", str(max(counts[image], 1)))
        key = (image, filled.get("slice", ""), label)
        _, entry = merged.setdefault(key, (f"line {line}", {"label": label, "points": []}))
        entry.update({name: filled[name] for name in ("image", "slice", "name", "color", "code") if name in filled})
        _add_csv_row(source, line, filled, entry)
    return list(merged.values())


def _add_csv_row(source: Path, number: int, filled: dict[str, str], entry: Row) -> None:
    keys = ("x0", "y0", "z0", "x1", "y1", "z1") if "z0" in filled else ("x0", "y0", "x1", "y1")
    if "x0" in filled:
        if "box" in entry or not set(keys) <= set(filled):
            got = (
                "a second box for the same label"
                if "box" in entry
                else f"a box without {sorted(set(keys) - set(filled))}"
            )
            raise PromptError(
                f"{source}, line {number}: {got}",
                expected="one whole box per image, slice and label",
                fix="give the second box its own label",
            )
        entry["box"] = [filled[key] for key in keys]
    elif {"x", "y"} <= set(filled):
        points = entry["points"]
        assert isinstance(points, list)  # noqa: S101
        points.append([filled["x"], filled["y"], filled.get("positive", "1")])
    else:
        raise PromptError(
            f"{source}, line {number}: neither x0,y0,x1,y1 nor x,y",
            expected="a box or a point",
            fix="fill these columns",
        )


def _prompt(source: Path, where: str, row: Row, number: int) -> Prompt:
    try:
        return make_prompt(row, number)
    except MedsamError as error:
        raise PromptError(f"{source}, {where}: {error.got}", expected=error.expected, fix=error.fix) from None
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise PromptError(
            f"{source}, {where}: {str(error)[:100] or type(error).__name__}",
            expected=f"some of {', '.join(KEYS)}",
            fix="see docs/formats.md, Prompts",
        ) from None
