"""Prompts as a user gives them, checked, and moved into the model frame.

Shape legend: N prompts, P points a prompt, H rows, W columns of the slice, h w 256 x 256.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from medsam.errors import PromptError
from medsam.imaging.boxes import to_numpy, validate_boxes, validate_points
from medsam.imaging.frame import Frame
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.manifest import Manifest

MASK_LOGIT = 10.0  # a previous mask enters as the logits of a confident answer
PADDING = -1  # label of the points that fill short lists up


@dataclass(frozen=True, eq=False)
class ModelPrompts:
    """N prompts of one slice in model pixels; what is None was not given."""

    boxes_N4: torch.Tensor | None
    points_NP2: torch.Tensor | None
    labels_NP: torch.Tensor | None
    masks_N1hw: torch.Tensor | None
    count: int

    def part(self, start: int, stop: int) -> ModelPrompts:
        """Prompts start to stop of the N."""
        return self._each(lambda tensor: tensor[start:stop], min(stop, self.count) - start)

    def to(self, device: torch.device) -> ModelPrompts:
        """The same prompts on a device."""
        return self._each(lambda tensor: tensor.to(device), self.count)

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor], count: int) -> ModelPrompts:
        boxes, points, labels, masks = (
            None if t is None else change(t) for t in (self.boxes_N4, self.points_NP2, self.labels_NP, self.masks_N1hw)
        )
        return ModelPrompts(boxes, points, labels, masks, count)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which of "box", "point" and "mask" were given."""
        given = {"box": self.boxes_N4, "point": self.points_NP2, "mask": self.masks_N1hw}
        return tuple(kind for kind, tensor in given.items() if tensor is not None)


def make_model_prompts(
    frame: Frame, boxes: object, points: object, point_labels: object, mask: object, *, mask_side: int = 256
) -> ModelPrompts:
    """Check prompts against the slice and move them into the model frame.

    Args:
        frame: Of the embedding to decode.
        boxes: (N, 4) or (4,), x0 y0 x1 y1 in slice pixels, or None.
        points: N lists of (x, y) in slice pixels, or one flat list for one object, or None.
        point_labels: N lists of 1 (inside) or 0 (outside), one for each point.
        mask: A previous mask, (H, W) for every prompt or (N, H, W), bool, or None.
        mask_side: Side of the logits that a previous mask becomes; four times that of the features.

    Raises:
        PromptError: nothing given, something outside the slice, or counts that do not agree.
    """
    boxes_N4 = (
        None
        if boxes is None
        else torch.from_numpy(frame.boxes_to_model(validate_boxes(boxes, frame.height, frame.width)))
    )
    points_NP2, labels_NP = _points(frame, points, point_labels)
    counts = {name: len(t) for name, t in (("boxes", boxes_N4), ("lists of points", points_NP2)) if t is not None}
    if len(set(counts.values())) > 1:
        text = " and ".join(f"{count} {name}" for name, count in counts.items())
        raise PromptError(
            text, expected="one list of points for each box", fix="give an equal number of both, or decode them apart"
        )
    count = next(iter(counts.values()), None)
    masks_N1hw = None if mask is None else _masks(frame, mask, count, mask_side)
    count = count if count is not None or masks_N1hw is None else len(masks_N1hw)
    if count is None:
        raise PromptError("no prompt", expected="boxes, points or a previous mask", fix="pass boxes=[(x0, y0, x1, y1)]")
    return ModelPrompts(boxes_N4, points_NP2, labels_NP, masks_N1hw, count)


def refuse_clicks(manifest: Manifest) -> None:
    """Refuse a click without a box for weights that never learnt clicks; they would answer with an empty mask.

    Raises:
        PromptError: such weights; the message names the models that answer clicks.
    """
    if "point" not in manifest.prompts:
        able = [name for name, entry in CATALOG.items() if "point" in entry.manifest.prompts]
        raise PromptError(
            f"a click for {manifest.name}, which was trained for {' and '.join(manifest.prompts)} prompts only",
            expected=f"a box, or a model that answers clicks: {', '.join(able)}",
            fix="draw a box around the object, or choose such a model with --model",
        )


def _points(frame: Frame, points: object, point_labels: object) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if points is None:
        if point_labels is not None:
            raise PromptError("point_labels without points", expected="both or neither", fix="pass points=[[(x, y)]]")
        return None, None
    if point_labels is None:
        raise PromptError(
            "points without point_labels",
            expected="a label 1 (inside) or 0 (outside) for each point",
            fix="pass point_labels=[[1]]",
        )
    points, point_labels = to_numpy(points), to_numpy(point_labels)
    if np.ndim(_first(points)) == 1 and np.ndim(_first(point_labels)) == 0:  # type: ignore[arg-type]
        points, point_labels = [points], [point_labels]  # one object, not nested
    pairs = [
        (_one_list(p, frame), _labels(q))
        for p, q in zip(_sequence(points), _same_length(points, point_labels), strict=True)
    ]
    longest = max(len(xy) for xy, _ in pairs)
    points_NP2 = torch.zeros(len(pairs), longest, 2)
    labels_NP = torch.full((len(pairs), longest), PADDING, dtype=torch.long)
    for row, (xy, signs) in enumerate(pairs):
        if len(xy) != len(signs):
            raise PromptError(
                f"{len(xy)} points with {len(signs)} labels",
                expected="one label for each point",
                fix="give 1 (inside) or 0 (outside) for each",
            )
        points_NP2[row, : len(xy)] = torch.from_numpy(xy)
        labels_NP[row, : len(signs)] = torch.tensor(signs)
    return points_NP2, labels_NP


def _first(value: object) -> object:
    return to_numpy(_sequence(value)[0])


def _sequence(value: object) -> list[object]:
    if not isinstance(value, (list, tuple, np.ndarray)) or not len(value):
        raise PromptError(
            f"points or labels are {value!r:.60}",
            expected="one list for each object",
            fix="pass points=[[(x, y), ...]], point_labels=[[1, ...]]",
        )
    return [to_numpy(item) for item in value]


def _same_length(points: object, point_labels: object) -> list[object]:
    lists, labels = _sequence(points), _sequence(point_labels)
    if len(lists) != len(labels):
        raise PromptError(
            f"{len(lists)} lists of points with {len(labels)} lists of labels",
            expected="as many of both",
            fix="give one list of labels for each list of points",
        )
    return labels


def _one_list(points: object, frame: Frame) -> np.ndarray:
    if np.ndim(points) != 2:  # type: ignore[arg-type]
        raise PromptError(
            f"points of an object are {points!r:.60}",
            expected="a list of (x, y)",
            fix="pass points=[[(x, y), ...]], one list for each object",
        )
    return frame.points_to_model(validate_points(points, frame.height, frame.width))


def _labels(labels: object) -> list[int]:
    values = np.asarray(labels)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise PromptError(
            f"point labels are {labels!r:.60}",
            expected="a list of 1 (inside) and 0 (outside)",
            fix="pass point_labels=[[1, ...]], one list for each object",
        )
    return [int(value) for value in values]


def _masks(frame: Frame, mask: object, count: int | None, side: int) -> torch.Tensor:
    array = np.asarray(mask)
    if array.dtype.kind not in "biu" or array.ndim not in (2, 3) or array.shape[-2:] != (frame.height, frame.width):
        raise PromptError(
            f"a previous mask of shape {array.shape} and dtype {array.dtype}",
            expected=f"bool of shape {(frame.height, frame.width)} or (N, ...)",
            fix="pass a mask as decode returns it",
        )
    stack = array[None] if array.ndim == 2 else array
    if count is not None and len(stack) not in (1, count):
        raise PromptError(
            f"{len(stack)} previous masks for {count} prompts",
            expected="one for all, or one for each",
            fix="give as many masks as boxes",
        )
    low = make_mask_logits(torch.from_numpy(np.stack([frame.mask_to_model(one != 0) for one in stack])), side)
    return low.expand(count, -1, -1, -1) if count is not None and len(stack) == 1 else low


def make_mask_logits(masks_NSS: torch.Tensor, side: int) -> torch.Tensor:
    """Masks in the model frame, 0 or 1, as the logits of a confident answer: (N, 1, side, side) float32."""
    share_N1hw = torch.nn.functional.adaptive_avg_pool2d(masks_NSS[:, None].float(), side)
    return (2 * share_N1hw - 1) * MASK_LOGIT
