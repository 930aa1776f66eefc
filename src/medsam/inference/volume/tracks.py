"""The way of a prompt through the slices: where it was drawn, where boxes lie between, where it follows its own mask.

Shape legend: H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medsam.errors import PromptError
from medsam.imaging.boxes import Box, box_from_mask, fit_box
from medsam.imaging.frame import Frame
from medsam.imaging.prompts import Prompt, place

MARGIN_PX = 3  # at a frame of 256, as LiteMedSAM widens the box of the mask before
LEAST_SHARE = 0.5  # of the best score so far, below which an object that is carried along has ended
# The slices of a round object in a 3D box: an ellipsoid's, a little wider, and near the ends no less than this share of the box.
ELLIPSOID_WIDER = 1.15
ELLIPSOID_LEAST = 0.4
Follow = Callable[[NDArray[np.bool_], Frame, Box], Box | None]


@dataclass(frozen=True, eq=False)
class Track:
    """One prompt on all the slices it reaches.

    Args:
        label: Of the object.
        given: Slice to what is asked there.
        start: The slice to begin with; the others come outwards from it, up and down.
        slices: First and last slice, inclusive. Those without a prompt of their own follow the mask beside them.
        follow: Makes the box of such a slice from the mask beside it, its frame and the box beside it; None where the
            object has ended, and the track with it.
        limit: A box that no mask leaves, x0 y0 x1 y1 in slice pixels.
        also: Slice to a second box, which is asked too; the mean of both answers counts.
        least_share: The object has ended where its score is under this share of its best score so far.
        sure: Whether the object is on the slices of its prompts, however it looks there.
        name: Of the object.
        color: Of the object.
        code: Of the object.
    """

    label: int
    given: Mapping[int, Prompt]
    start: int
    slices: tuple[int, int]
    follow: Follow | None = None
    limit: Box | None = None
    also: Mapping[int, Box] = field(default_factory=dict)
    least_share: float = 0.0
    sure: bool = True
    name: str | None = None
    color: tuple[int, int, int] | None = None
    code: tuple[str, str, str] | None = None

    @property
    def upwards(self) -> Sequence[int]:
        """Slices from the start to the last, in order."""
        whole = range(self.start, self.slices[1] + 1)
        return whole if self.follow else [k for k in whole if k in self.given]

    @property
    def downwards(self) -> Sequence[int]:
        """Slices from the one before the start to the first, in order."""
        whole = range(self.start - 1, self.slices[0] - 1, -1)
        return whole if self.follow else [k for k in whole if k in self.given]


def make_tracks(
    prompts: Sequence[Prompt], shape_DHW: tuple[int, int, int], *, interpolate: bool = False
) -> list[Track]:
    """Give every prompt its track, in the order of the prompts.

    Args:
        prompts: Each with the label of its object.
        shape_DHW: Of the image.
        interpolate: A box reaches over the slices up to the next box of its label, and its sides move there linearly.

    Raises:
        PromptError: a prompt that does not fit the image, or, with interpolate, two boxes of one label on a slice.
    """
    placed = [place(prompt, shape_DHW) for prompt in prompts]
    between = _boxes_between(placed) if interpolate else {}
    return [_track(prompt, between.get(number, {})) for number, prompt in enumerate(placed)]


def _track(prompt: Prompt, between: Mapping[int, Box]) -> Track:
    if prompt.box_3d is not None:
        x0, y0, z0, x1, y1, z1 = prompt.box_3d
        box, first, last = (x0, y0, x1, y1), int(z0), int(z1)
        middle = first + (last - first) // 2
        given = {middle: replace(prompt, box_3d=None, slice=middle, box=box)}
        return Track(
            prompt.label, given, middle, (first, last), follow=follow_in(box), limit=box,
            also=cut_ellipsoid(box, first, last), name=prompt.name, color=prompt.color, code=prompt.code,
        )  # fmt: skip
    assert prompt.slice is not None  # noqa: S101 - placed
    given = {prompt.slice: prompt}
    given |= {k: Prompt(label=prompt.label, slice=k, box=box) for k, box in between.items()}
    reach = (prompt.slice, max(given))
    return Track(prompt.label, given, prompt.slice, reach, name=prompt.name, color=prompt.color, code=prompt.code)


def _boxes_between(prompts: Sequence[Prompt]) -> dict[int, dict[int, Box]]:
    """Number of a prompt to the boxes on the slices between it and the next box of its label."""
    marked: dict[int, dict[int, int]] = {}  # label -> slice -> number
    for number, prompt in enumerate(prompts):
        if prompt.box is not None and prompt.slice is not None:
            own = marked.setdefault(prompt.label, {})
            if prompt.slice in own:
                raise PromptError(
                    f"two boxes of label {prompt.label} on slice {prompt.slice}",
                    expected="one box for each label and slice where boxes are interpolated",
                    fix="give each object its own label",
                )
            own[prompt.slice] = number
    between: dict[int, dict[int, Box]] = {}
    for own in marked.values():
        boxes = {k: box for k, number in own.items() if (box := prompts[number].box) is not None}
        for k, box in interpolate_boxes(boxes).items():
            if k not in own:
                between.setdefault(own[max(m for m in own if m < k)], {})[k] = box
    return between


def interpolate_boxes(boxes: Mapping[int, Box]) -> dict[int, Box]:
    """Fill the slices between the marked ones of one object: the corners of its box move linearly.

    Args:
        boxes: Slice to box, x0 y0 x1 y1.

    Returns:
        A box on every slice from the first to the last marked one, ascending.

    Source: paper, Methods, "Human annotation study"; compatibility notes 5.5 no. 14.
    """
    slices = sorted(boxes)
    filled: dict[int, Box] = {}
    for k in range(slices[0], slices[-1] + 1) if slices else ():
        x0, y0, x1, y1 = (float(np.interp(k, slices, [boxes[s][c] for s in slices])) for c in range(4))
        filled[k] = (x0, y0, x1, y1)
    return filled


def cut_ellipsoid(box: Box, first: int, last: int) -> dict[int, Box]:
    """Cut the ellipsoid that fills a 3D box: the box of each slice, a little wider and inside the 3D box.

    Following the mask alone loses an object once a slice goes wrong; these boxes depend on no mask (docs/experiments.md).

    Args:
        box: x0 y0 x1 y1 of the 3D box.
        first: Its first slice.
        last: Its last slice.
    """
    x0, y0, x1, y1 = box
    middle_x, middle_y, depth = (x0 + x1) / 2, (y0 + y1) / 2, last - first + 1
    boxes: dict[int, Box] = {}
    for k in range(first, last + 1):
        away = (2 * k - first - last) / depth  # from the middle, in halves of the depth: always less than 1
        share = min(1.0, ELLIPSOID_WIDER * max(ELLIPSOID_LEAST, (1 - away * away) ** 0.5))
        half_x, half_y = share * (x1 - x0) / 2, share * (y1 - y0) / 2
        boxes[k] = fit_box((middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y), box)
    return boxes


def follow_in(limit: Box) -> Follow:
    """The way of a 3D box from slice to slice: around the mask beside, a little wider, inside the 3D box.

    An empty mask gives the 3D box itself.

    Source: the published LiteMedSAM inference, compatibility notes 5.4; it lets the box drift out of the one given.
    """

    def next_box(mask_HW: NDArray[np.bool_], frame: Frame, _: Box) -> Box:
        return fit_box(widen_box(mask_HW, frame), limit) if mask_HW.any() else limit

    return next_box


def track_neighbours(mask_HW: NDArray[np.bool_], label: int, slices: tuple[int, int, int], frame: Frame) -> list[Track]:
    """Carry an object from a slice where it is right to the slices beside it, upwards and downwards.

    Args:
        mask_HW: The object on the slice where it is right, which stays as it is.
        label: Of the object.
        slices: First slice to reach, the slice where it is right, last slice to reach.
        frame: In which the slices enter the model.

    Returns:
        Up to two tracks; every slice gets the box around the mask beside it, a little wider. A track ends where the mask
        is empty or its score collapses; that slice and those behind it stay as they are.

    Raises:
        PromptError: the object is not on the slice, or there is no slice beside it.
    """
    first, middle, last = slices
    if not mask_HW.any():
        raise PromptError(f"object {label} is not on slice {middle}", expected="its mask", fix="outline it there first")
    if first > middle - 1 and last < middle + 1:
        raise PromptError(
            f"no slice beside slice {middle} is free", expected="one", fix="choose a slice with others beside it"
        )
    whole = (0.0, 0.0, float(frame.width), float(frame.height))

    def follow(mask_HW: NDArray[np.bool_], frame: Frame, _: Box) -> Box | None:
        return fit_box(widen_box(mask_HW, frame), whole) if mask_HW.any() else None

    box = fit_box(widen_box(mask_HW, frame), whole)
    beside = {middle + 1: (middle + 1, last), middle - 1: (first, middle - 1)}
    return [
        Track(
            label, {start: Prompt(label=label, slice=start, box=box)}, start, reach, follow=follow,
            least_share=LEAST_SHARE, sure=False,
        )
        for start, reach in beside.items()
        if reach[0] <= reach[1]
    ]  # fmt: skip


def widen_box(mask_HW: NDArray[np.bool_], frame: Frame) -> Box:
    """The box of a mask that is not empty, a little wider, as LiteMedSAM gives it to the next slice."""
    scale_x, scale_y = frame.scale_xy
    margin = MARGIN_PX * frame.size / 256 / np.array([scale_x, scale_y, scale_x, scale_y])
    x0, y0, x1, y1 = (float(v) for v in box_from_mask(mask_HW) + margin * (-1, -1, 1, 1))
    return x0, y0, x1, y1
