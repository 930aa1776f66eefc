"""What a prompt, a job or an edit does to the masks of a case; hand-drawn slices stay unless they are released.

Shape legend: D slices, H rows, W columns, as stored unless said otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.annotate import annotate
from medsam.annotation.markers import Marker
from medsam.annotation.study.heads import Head
from medsam.annotation.study.label_runs import LabelRuns
from medsam.annotation.study.project import Kind, ProjectCase
from medsam.errors import PromptError
from medsam.imaging.image import Grid, Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.segment import Segmentation, segment
from medsam.inference.volume.tracks import track_neighbours
from medsam.progress import Progress
from medsam.server.drawn import Drawn
from medsam.server.scans import OpenScan
from medsam.server.schemas import JobIn, JobNeighbours
from medsam.server.scores import SliceScore, head_scores, rows_of
from medsam.server.state import ServerState, note_work


@dataclass(frozen=True, eq=False)
class Outlined:
    """What a job made.

    Args:
        labels: (D, H, W).
        scores: {label: {slice: score}}, slices of the plane that was asked for.
        seconds: By phase.
        whole: Labels of which nothing of the state before is left.
    """

    labels: NDArray[np.integer] = field(repr=False)
    scores: Mapping[int, Mapping[int, float]]
    seconds: Mapping[str, float]
    whole: frozenset[int] = frozenset()


def mask_of(server: ServerState, case: ProjectCase, revision: int | None) -> tuple[LabelRuns, Drawn]:
    """The mask of a saved state and its hand-drawn slices; nothing before the first."""
    if revision is None:
        return LabelRuns.empty(case.shape), {}
    state = server.scans.state(revision)
    return state.runs, state.locked


def locked_objects(server: ServerState, case: ProjectCase, said: Collection[int] = ()) -> set[int]:
    """Labels that nothing may change: those locked in the case, and what a request itself says."""
    return {*said, *(one.label for one in server.project.objects(case.id) if one.locked)}


def refuse_locked(labels: Collection[int | None], locked: Collection[int]) -> None:
    """Refuse to change an object that is locked.

    Raises:
        PromptError: one of the labels is.
    """
    for label in sorted({label for label in labels if label is not None} & set(locked)):
        raise PromptError(f"object {label} is locked", expected="an object that is not", fix="unlock it first")


def segment_slice(
    server: ServerState, scan: OpenScan, axis: int, prompt: Prompt, before_HW: NDArray[np.integer]
) -> Segmentation:
    """Answer one prompt on one slice; the engine sees that slice as an image of its own.

    Args:
        axis: The array axis that the slices are stacked along.
        prompt: With the index of the slice.
        before_HW: What the mask has there.
    """
    sliced = scan.image.move_axis(axis)
    index = prompt.slice or 0
    if index >= sliced.grid.shape[0]:
        raise PromptError(
            f"slice is {index}", expected=f"0 to {sliced.grid.shape[0] - 1}", fix="choose a slice of the image"
        )
    grid = Grid((1, *sliced.grid.shape[1:]))
    one = replace(sliced, values=sliced.values[index : index + 1], grid=grid)
    previous = Mask(before_HW[None], grid)
    return segment(server.predictor, one, [replace(prompt, slice=0)], previous=previous, cache=server.cache)


def segment_objects(
    server: ServerState, scan: OpenScan, axis: int, work: Sequence[Prompt] | Sequence[Marker], asked: JobIn, *,
    previous: NDArray[np.integer], progress: Progress,
) -> Outlined:  # fmt: skip
    """Segment whole objects from prompts, or from markers; labels that are not named stay as they are.

    Args:
        asked: How boxes reach over slices, and what is laid between markers.
    """
    image, predictor = scan.image, server.predictor
    markers = [one for one in work if isinstance(one, Marker)]
    if not markers:
        prompts = [one for one in work if isinstance(one, Prompt)]
        before = Mask(previous, image.grid)
        found = segment(
            predictor, image, prompts, plane=axis, interpolate=asked.interpolate, previous=before, cache=server.cache,
            progress=progress,
        )  # fmt: skip
        scores: dict[int, dict[int, float]] = {}
        for prompt, own in zip(prompts, found.slice_scores, strict=False):
            scores.setdefault(prompt.label, {}).update(own)
        return Outlined(found.mask.labels, scores, found.seconds)
    made = annotate(
        predictor, image, markers, interpolation=asked.interpolation, margin_px=asked.margin_px, max_gap=asked.max_gap,
        plane=axis, cache=server.cache, progress=progress,
    )  # fmt: skip
    named = frozenset(marker.label for marker in markers)
    labels = np.where(np.isin(previous, list(named)), 0, previous)
    labels = np.where(made.mask.labels > 0, made.mask.labels, labels)
    return Outlined(labels, made.scores, made.seconds, named)


def segment_neighbours(
    server: ServerState, scan: OpenScan, axis: int, asked: JobNeighbours, *, previous: NDArray[np.integer],
    stay: Collection[int], progress: Progress,
) -> Outlined:  # fmt: skip
    """Carry an object from a slice where it is right to the slices beside it, until it ends or the next one that stays.

    Args:
        stay: Slices of the axis that are not touched, and that nothing is carried across.
    """
    k, depth = asked.slice, scan.image.grid.shape[axis]
    if k >= depth:
        raise PromptError(f"slice is {k}", expected=f"0 to {depth - 1}", fix="choose a slice of the image")
    first = max([0, k - asked.reach, *(other + 1 for other in stay if other < k)])
    last = min([depth - 1, k + asked.reach, *(other - 1 for other in stay if other > k)])
    right_HW = np.moveaxis(previous, axis, 0)[k] == asked.label
    frame = server.predictor.make_frame(*right_HW.shape)
    found = segment(
        server.predictor, scan.image, track_neighbours(right_HW, asked.label, (first, k, last), frame), plane=axis,
        previous=Mask(previous, scan.image.grid), cache=server.cache, progress=progress,
    )  # fmt: skip
    scores = {k: score for own in found.slice_scores for k, score in own.items()}
    return Outlined(found.mask.labels, {asked.label: scores}, found.seconds)


def save_state(
    server: ServerState, case: ProjectCase, annotator: str, labels: NDArray[np.integer] | LabelRuns, *, seen: int, kind: Kind,
    event: Mapping[str, object], locked: Drawn, scores: Collection[SliceScore] | None = None,
) -> Head:  # fmt: skip
    """Save a state with what made it; the case is in work from now on.

    Args:
        scores: Of all slices after it; those of the state before without them.
    """
    facts = {"model": server.predictor.manifest.name, "weights": server.predictor.weights} if kind != "edit" else {}
    scores = head_scores(server, case, annotator) if scores is None else scores
    _, head = server.project.save(
        case.id, annotator, labels, seen=seen, kind=kind, locked=locked,
        event={**event, **facts, "scores": rows_of(scores), "saved": time.time()},
    )  # fmt: skip
    if kind in ("edit", "import"):
        note_work(server, case.id, annotator, "refining")
    if case.status == "new":
        server.project.set_status(case.id, "in work")
    return head


def event_of(
    prompt: Prompt, plane: str, seconds: Mapping[str, float], axes: Sequence[tuple[float, float]] = ()
) -> dict[str, object]:
    """A prompt as it is kept with the state that it made, with the axes that its box is of."""
    drawn = {name: value for name, value in asdict(prompt).items() if value not in (None, ())}
    event = {"prompts": [drawn], "plane": plane, "seconds": {name: round(s, 4) for name, s in seconds.items()}}
    return event | ({"axes": list(axes)} if axes else {})
