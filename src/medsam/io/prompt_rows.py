"""One row of a file of prompts to a Prompt: which keys it may have, and numbers that an image can have."""

from __future__ import annotations

import re

from medsam.errors import PromptError
from medsam.imaging.prompts import MAX_LABEL, Prompt
from medsam.io.codes import parse_code

Row = dict[str, object]
KEYS = ("box", "bbox", "points", "point_labels", "slice", "label", "name", "color", "code", "image")
MAX_PX = 1e6  # of a position; the largest slides have 200,000 pixels on a side


def make_prompt(row: Row, number: int) -> Prompt:
    """Make a prompt.

    Args:
        row: Some of KEYS.
        number: The label, where the row has none.

    Raises:
        PromptError: what it has is no prompt.
        TypeError, ValueError, LookupError, ArithmeticError: a value of another kind.
    """
    unknown = set(row) - set(KEYS)
    if unknown:
        raise TypeError(f"unknown keys {sorted(map(str, unknown))}")
    if row.get("box") is not None and row.get("bbox") is not None:
        raise TypeError("both box and bbox")
    box = _numbers(row.get("box") if row.get("box") is not None else row.get("bbox"), "box")
    if len(box) not in (0, 4, 6):
        raise TypeError(f"a box of {len(box)} numbers; it needs 4 or 6")
    points, signs = _points(row)
    written = _text(row.get("code"), "code")
    code = None if written is None else parse_code(written)
    name = _text(row.get("name"), "name") or (None if code is None else code[2])
    return Prompt(
        label=_whole(row.get("label", number), "label", MAX_LABEL),
        slice=None if row.get("slice") is None else _whole(row["slice"], "slice", int(MAX_PX)),
        box=(box[0], box[1], box[2], box[3]) if len(box) == 4 else None,
        box_3d=(box[0], box[1], box[2], box[3], box[4], box[5]) if len(box) == 6 else None,
        points=points,
        point_labels=signs,
        image=_text(row.get("image"), "image"),
        name=name,
        color=_color(row.get("color")),
        code=code,
    )


def _points(row: Row) -> tuple[tuple[tuple[float, float], ...], tuple[int, ...]]:
    """Points, and 1 or 0 for each: its third number, or its place in point_labels."""
    listed = row.get("points")
    given = [_numbers(point, "point") for point in (listed if isinstance(listed, list) else [])]
    if listed is not None and not isinstance(listed, list):
        raise TypeError("points are no list")
    if any(len(point) not in (2, 3) for point in given):
        raise TypeError("a point needs 2 or 3 numbers")
    signs = [point[2] if len(point) == 3 else 1.0 for point in given]
    if row.get("point_labels") is not None:
        signs = list(_numbers(row["point_labels"], "point_labels"))
    if any(sign not in (0, 1) for sign in signs):
        raise TypeError("a point is 1 (inside) or 0 (outside)")
    return tuple((point[0], point[1]) for point in given), tuple(int(sign) for sign in signs)


def _numbers(value: object, what: str) -> tuple[float, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or any(isinstance(item, bool | list | dict | None) for item in value):
        raise TypeError(f"{what} is no list of numbers")
    numbers = tuple(float(item) for item in value)
    if not all(abs(number) <= MAX_PX for number in numbers):  # NaN too
        raise TypeError(f"{what} holds a number that no image has")
    return numbers


def _whole(value: object, what: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{what} is no whole number")
    number = float(value)
    if not abs(number) <= most or number != int(number):
        raise PromptError(
            f"{what} is {str(value)[:20]}", expected=f"a whole number up to {most}", fix="correct the number"
        )
    return int(number)


def _text(value: object, what: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 4096:
        raise TypeError(f"{what} is no text")
    return " ".join(value.split()) or None


def _color(value: object) -> tuple[int, int, int] | None:
    """[r, g, b] in 0..255, or "#rrggbb"."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"#?[0-9a-fA-F]{6}", value.strip()):
        value = list(bytes.fromhex(value.strip().lstrip("#")))
    numbers = _numbers(value, "color")
    if len(numbers) != 3 or any(not 0 <= n <= 255 or n != int(n) for n in numbers):
        raise TypeError("color is no [r, g, b] of 0 to 255 and no #rrggbb")
    return int(numbers[0]), int(numbers[1]), int(numbers[2])
