"""Prompts from a JSON or CSV file (docs/formats.md, Prompts)."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from medsam.errors import InputFileError, MedsamError, PromptError
from medsam.imaging.prompts import Prompt

COLUMNS = ("image", "slice", "label", "x0", "y0", "x1", "y1", "z0", "z1", "x", "y", "positive")


def read_prompts(path: str | Path) -> list[Prompt]:
    """Read prompts.

    Args:
        path: `.json`: {"prompts": [{"box": [x0, y0, x1, y1], "points": [[x, y, 1]], "slice": 3, "label": 1, "image":
            "a.png"}]}; `.csv`: a header of x0, y0, x1, y1 (and z0, z1) or x, y, positive, with slice, label and image
            where needed. CSV point rows of the same image, slice and label are one prompt.

    Raises:
        InputFileError: missing, not JSON or CSV, or an unknown column.
        PromptError: a row that is no prompt; the message names the row.
    """
    source = Path(path)
    if not source.is_file():
        raise InputFileError(f"{source} does not exist", expected="a JSON or CSV file of prompts", fix="check the path")
    if source.suffix.lower() not in (".json", ".csv"):
        raise InputFileError(
            f"{source} has the suffix {source.suffix!r}", expected=".json or .csv", fix="rename or convert it"
        )
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputFileError(
            f"{source} is not text", expected="a JSON or CSV file of prompts", fix="save it as UTF-8"
        ) from None
    prompts = _from_json(source, text) if source.suffix.lower() == ".json" else _from_csv(source, text)
    if not prompts:
        raise InputFileError(f"{source} holds no prompt", expected="at least one", fix="add a box or a point")
    return prompts


def _from_json(source: Path, text: str) -> list[Prompt]:
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise InputFileError(
            f"{source} is not JSON ({error})", expected='{"prompts": [...]}', fix="correct the file"
        ) from None
    rows = raw.get("prompts") if isinstance(raw, Mapping) else raw
    if not isinstance(rows, list):
        raise InputFileError(
            f"{source} has no list of prompts", expected='{"prompts": [...]}', fix="see docs/formats.md, Prompts"
        )
    return [_prompt(source, f"prompt {number}", row, number) for number, row in enumerate(rows, start=1)]


def _prompt(source: Path, where: str, row: object, number: int) -> Prompt:
    try:
        if not isinstance(row, Mapping):
            raise TypeError("not an object")
        unknown = set(row) - {"box", "points", "slice", "label", "image"}
        if unknown:
            raise TypeError(f"unknown keys {sorted(unknown)}")
        box = tuple(float(v) for v in row.get("box") or ())
        points = [tuple(float(v) for v in point) for point in row.get("points") or ()]
        if len(box) not in (0, 4, 6) or any(len(point) not in (2, 3) for point in points):
            raise TypeError("a box needs 4 or 6 numbers, a point 2 or 3")
        return Prompt(
            label=int(row.get("label", number)),
            slice=None if row.get("slice") is None else int(row["slice"]),
            box=box if len(box) == 4 else None,
            box_3d=box if len(box) == 6 else None,
            points=tuple((point[0], point[1]) for point in points),
            point_labels=tuple(int(point[2]) if len(point) == 3 else 1 for point in points),
            image=None if row.get("image") is None else str(row["image"]),
        )
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"{source}, {where}: {error}",
            expected="box, points, slice, label, image",
            fix="see docs/formats.md, Prompts",
        ) from None
    except MedsamError as error:
        raise PromptError(f"{source}, {where}: {error.got}", expected=error.expected, fix=error.fix) from None


def _from_csv(source: Path, text: str) -> list[Prompt]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    unknown = set(reader.fieldnames or ()) - set(COLUMNS)
    if unknown or not reader.fieldnames:
        raise InputFileError(
            f"{source} has the columns {reader.fieldnames}",
            expected=f"some of {', '.join(COLUMNS)}",
            fix="see docs/formats.md, Prompts",
        )
    merged: dict[tuple[str, str, str], dict[str, object]] = {}
    counts: dict[str, int] = {}
    for number, row in enumerate(reader, start=2):
        filled = {key: value.strip() for key, value in row.items() if key and value and value.strip()}
        if not filled:
            continue
        image = filled.get("image", "")
        counts[image] = counts.get(image, 0) + ("x0" in filled)
        label = filled.get("label", str(max(counts[image], 1)))
        entry = merged.setdefault(
            (image, filled.get("slice", ""), label), {"label": label, "points": [], "row": number}
        )
        entry.update({key: filled[key] for key in ("image", "slice") if key in filled})
        _add_csv_row(source, number, filled, entry)
    return [_prompt(source, f"line {entry.pop('row')}", entry, 1) for entry in merged.values()]


def _add_csv_row(source: Path, number: int, filled: dict[str, str], entry: dict[str, object]) -> None:
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
