"""How sure the model was of each slice of each object: kept with every state, so that undo and a restart keep them too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fastapi import APIRouter

from medsam.annotation.study.project import ProjectCase
from medsam.server.schemas import ScoreView
from medsam.server.state import Annotator, Case, Server, ServerState

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["masks"])


@dataclass(frozen=True)
class SliceScore:
    """What the model gave itself for an object on a slice.

    Args:
        axis: The array axis that the slice lies across.
        score: Its own estimate of the overlap with the truth, about 0 to 1.
    """

    label: int
    axis: int
    slice: int
    score: float


def scores_of(server: ServerState, revision: int | None) -> list[SliceScore]:
    """The scores of a saved state; none before the first."""
    kept = None if revision is None else server.scans.state(revision).event.get("scores")
    rows = kept if isinstance(kept, list) else []
    return [SliceScore(int(label), int(axis), int(at), float(score)) for label, axis, at, score in rows]


def replace_scores(
    before: Collection[SliceScore], found: Mapping[int, Mapping[int, float]], axis: int, *, whole: Collection[int] = ()
) -> list[SliceScore]:  # fmt: skip
    """The scores after a prompt or a job.

    Args:
        found: {label: {slice: score}}.
        axis: The array axis of those slices.
        whole: Labels that were made anew on all slices, so that nothing of what was there counts any more.
    """
    kept = [
        one for one in before
        if one.label not in whole and not (one.axis == axis and one.slice in found.get(one.label, {}))
    ]  # fmt: skip
    return kept + [SliceScore(label, axis, k, score) for label, own in found.items() for k, score in own.items()]


def drop_scores(before: Collection[SliceScore], labels: Collection[int], axis: int, index: int) -> list[SliceScore]:
    """The scores after somebody drew these labels on a slice, which the model has nothing to say of any more."""
    return [one for one in before if not (one.label in labels and (one.axis, one.slice) == (axis, index))]


def rows_of(scores: Collection[SliceScore]) -> list[tuple[int, int, int, float]]:
    """Scores as they are kept with a state: label, axis, slice, score."""
    return [(one.label, one.axis, one.slice, round(one.score, 4)) for one in scores]


def head_scores(server: ServerState, case: ProjectCase, annotator: str) -> list[SliceScore]:
    """The scores of the state that an annotator stands at."""
    return scores_of(server, server.project.head(case.id, annotator).revision)


@router.get("/scores")
def read_scores(*, case: Case, server: Server, me: Annotator) -> list[ScoreView]:
    """How sure the model was of each slice, the least sure first."""
    rows = sorted(head_scores(server, case, me), key=lambda one: one.score)
    return [ScoreView(label=one.label, axis=one.axis, slice=one.slice, score=one.score) for one in rows]
