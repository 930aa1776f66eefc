"""A prompt: what a person drew on one slice for one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medsam.errors import PromptError
from medsam.imaging.boxes import Box, sort_corners, validate_boxes, validate_points

MAX_LABEL = 65535  # masks made from prompts hold 16 bits


@dataclass(frozen=True)
class Prompt:
    """A box, points, or a box with points, for one label on one slice.

    Args:
        label: Label id the object gets in the mask, 1 or more.
        slice: Index of the slice, 0 for a 2D image; None for "the only one there is".
        box: x0, y0, x1, y1 in slice pixels, the corners in any order; kept with the lower one first.
        points: (x, y) in slice pixels.
        point_labels: 1 for each point inside the object, 0 for each outside; as many as points.
        box_3d: x0, y0, z0, x1, y1, z1: one box through several slices, z inclusive; alone, without box or points.
        image: File name the prompt belongs to, where one file of prompts serves many images.
        name: Of the object, for the mask.
        color: Of the object in the mask, r g b in 0..255.
        code: What the object is: scheme, value and meaning, as ("SCT", "10200004", "Liver").

    Raises:
        PromptError: neither box nor points, labels that do not match the points, or a label that a mask cannot hold.
    """

    label: int = 1
    slice: int | None = None
    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[int, ...] = ()
    box_3d: tuple[float, float, float, float, float, float] | None = None
    image: str | None = None
    name: str | None = None
    color: tuple[int, int, int] | None = None
    code: tuple[str, str, str] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.label <= MAX_LABEL:
            raise PromptError(f"label is {self.label}", expected=f"1 to {MAX_LABEL}", fix="number the objects from 1")
        if len(self.points) != len(self.point_labels) or not set(self.point_labels) <= {0, 1}:
            raise PromptError(
                f"{len(self.points)} points with labels {self.point_labels}",
                expected="a label 1 (inside) or 0 (outside) for each point",
                fix="give x,y or x,y,0",
            )
        drawn = bool(self.box or self.points)
        if drawn == bool(self.box_3d):
            got = "a 3D box together with a box or points" if drawn else "a prompt without box and points"
            raise PromptError(
                got,
                expected="a box, points, both, or a 3D box alone",
                fix="give x0,y0,x1,y1, or x,y points, or x0,y0,z0,x1,y1,z1",
            )
        for field in ("box", "box_3d"):
            if (numbers := getattr(self, field)) is not None:
                object.__setattr__(self, field, sort_corners(numbers))


def place(prompt: Prompt, shape_DHW: tuple[int, int, int]) -> Prompt:
    """Check a prompt against an image and give it its slice; the only one there is, where it names none.

    Raises:
        PromptError: a volume's prompt without a slice, slices that are not there, or a box or point that does not fit.
    """
    depth, height, width = shape_DHW
    if prompt.box_3d is not None:
        _check_3d(prompt.box_3d, shape_DHW)
        return prompt
    if prompt.box is not None:
        validate_boxes(prompt.box, height, width)
    if prompt.points:
        validate_points(prompt.points, height, width)
    if prompt.slice is None and depth > 1:
        raise PromptError(
            f"a prompt without a slice for a volume of {depth} slices",
            expected=f"a slice from 0 to {depth - 1}",
            fix="pass --slice K",
        )
    if prompt.slice is not None and not 0 <= prompt.slice < depth:
        raise PromptError(
            f"slice is {prompt.slice}",
            expected=f"a whole number from 0 to {depth - 1}",
            fix="choose a slice of the image",
        )
    return replace(prompt, slice=prompt.slice or 0)


def _check_3d(box_3d: tuple[float, ...], shape_DHW: tuple[int, int, int]) -> None:
    x0, y0, z0, x1, y1, z1 = box_3d
    last = shape_DHW[0] - 1
    if not (0 <= z0 <= z1 <= last and z0 == int(z0) and z1 == int(z1)):
        text = ",".join(f"{v:g}" for v in box_3d)
        raise PromptError(
            f"the 3D box {text} runs from slice {z0:g} to {z1:g}",
            expected=f"whole slices from 0 to {last}",
            fix="correct z0 and z1",
        )
    validate_boxes((x0, y0, x1, y1), *shape_DHW[1:])


def parse_box(text: str) -> tuple[float, ...]:
    """Read "x0,y0,x1,y1" or "x0,y0,z0,x1,y1,z1".

    Raises:
        PromptError: not four or six numbers.
    """
    numbers = _numbers(text)
    if len(numbers) not in (4, 6):
        raise PromptError(
            f"box is {text!r}",
            expected="x0,y0,x1,y1 in pixels (or x0,y0,z0,x1,y1,z1 through slices)",
            fix="give four or six numbers joined by commas",
        )
    return numbers


def parse_point(text: str) -> tuple[float, float, int]:
    """Read "x,y" (inside the object), "x,y,1" (the same) or "x,y,0" (outside).

    Raises:
        PromptError: not two numbers and an optional 0 or 1.
    """
    numbers = _numbers(text)
    if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] not in (0, 1)):
        raise PromptError(
            f"point is {text!r}",
            expected="x,y for a point inside, or x,y,0 for one outside",
            fix="give two numbers and, if you like, 0 or 1",
        )
    return numbers[0], numbers[1], int(numbers[2]) if len(numbers) == 3 else 1


def prompts_from_drawing(
    boxes: Sequence[tuple[float, ...]], points: Sequence[tuple[float, float, int]], slice_index: int | None
) -> list[Prompt]:
    """Prompts for labels 1..N from boxes and points drawn on one slice.

    Several boxes become several labels. Points alone are one object; points with one box refine that box.

    Raises:
        PromptError: points with several boxes, which leaves open which box they belong to.
    """
    flat = [box for box in boxes if len(box) == 4]
    deep = [box for box in boxes if len(box) == 6]
    if points and (len(flat) > 1 or deep):
        raise PromptError(
            "points together with several boxes or a 3D box",
            expected="points alone or with one box",
            fix="write them to a prompts file (--prompts), where each prompt has its own points",
        )
    xy = tuple((x, y) for x, y, _ in points)
    signs = tuple(sign for _, _, sign in points)
    if points:
        return [Prompt(label=1, slice=slice_index, box=_four(flat[0]) if flat else None, points=xy, point_labels=signs)]
    prompts: list[Prompt] = []
    for label, box in enumerate(boxes, start=1):
        if len(box) == 4:
            prompts.append(Prompt(label=label, slice=slice_index, box=_four(box)))
        else:
            x0, y0, z0, x1, y1, z1 = box
            prompts.append(Prompt(label=label, box_3d=(x0, y0, z0, x1, y1, z1)))
    return prompts


def _four(box: tuple[float, ...]) -> Box:
    x0, y0, x1, y1 = box
    return x0, y0, x1, y1


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
