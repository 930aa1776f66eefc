"""A prompt: what a person drew on one slice for one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from medsam.errors import PromptError

MAX_LABEL = 65535  # masks made from prompts hold 16 bits


@dataclass(frozen=True)
class Prompt:
    """A box, points, or a box with points, for one label on one slice.

    Args:
        label: Label id the object gets in the mask, 1 or more.
        slice: Index of the slice, 0 for a 2D image; None for "the only one there is".
        box: x0, y0, x1, y1 in slice pixels.
        points: (x, y) in slice pixels.
        point_labels: 1 for each point inside the object, 0 for each outside; as many as points.
        box_3d: x0, y0, z0, x1, y1, z1: one box through several slices, z inclusive; alone, without box or points.
        image: File name the prompt belongs to, where one file of prompts serves many images.

    Raises:
        PromptError: neither box nor points, labels that do not match the points, or a label that a mask cannot hold.
    """

    label: int = 1
    slice: int | None = None
    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float], ...] = ()
    point_labels: tuple[int, ...] = ()
    box_3d: tuple[float, float, float, float, float, float] | None = None
    image: str | None = None

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


def place(prompt: Prompt, depth: int) -> Prompt:
    """Give a prompt its slice of an image of `depth` slices; the only one there is, where it names none.

    Raises:
        PromptError: a volume's prompt without a slice, or slices that are not there.
    """
    last = depth - 1
    if prompt.box_3d is not None:
        z0, z1 = prompt.box_3d[2], prompt.box_3d[5]
        if not 0 <= z0 <= z1 <= last:
            raise PromptError(
                f"the 3D box runs through slices {z0:g} to {z1:g}",
                expected=f"slices from 0 to {last}, the first one first",
                fix="correct z0 and z1",
            )
        return prompt
    if prompt.slice is None:
        if depth > 1:
            raise PromptError(
                f"a prompt without a slice for a volume of {depth} slices",
                expected=f"a slice from 0 to {last}",
                fix="pass --slice K",
            )
        return replace(prompt, slice=0)
    if not 0 <= prompt.slice <= last:
        raise PromptError(f"slice is {prompt.slice}", expected=f"0 to {last}", fix="choose a slice of the image")
    return prompt


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


def _four(box: tuple[float, ...]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0, y0, x1, y1


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
