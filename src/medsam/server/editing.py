"""Routes of /api/v1 that change masks by the step: shapes, interpolation, merging, versions of others, comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response

from medsam.annotation.interpolation import interpolate_masks
from medsam.annotation.study.label_runs import LabelRuns
from medsam.annotation.study.project import ProjectCase
from medsam.errors import PromptError
from medsam.evaluation.metrics import TOLERANCE_MM, dice, normalized_surface_distance
from medsam.imaging.image import Mask
from medsam.imaging.reshaping import reshape_object
from medsam.io.codes import search_codes
from medsam.server.annotating import locked_objects, mask_of, refuse_locked, save_state
from medsam.server.drawn import Drawn, Guard, by_axis, number_of, with_slice
from medsam.server.masks import revision_of
from medsam.server.object_changes import Row, apply_changes, change_object
from medsam.server.problems import NotFound
from medsam.server.schemas import (
    ComparisonView,
    DeleteStep,
    DescribeStep,
    InterpolateStep,
    MergeStep,
    PlaneName,
    ReleaseStep,
    ReshapeStep,
    RevisionId,
    Step,
    StepIn,
    StepOut,
    TakeStep,
)
from medsam.server.scores import SliceScore, head_scores, scores_of
from medsam.server.state import Annotator, Case, RequiredVersion, Server, ServerState, conflicts_shown, head_view

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["masks"])


@dataclass(frozen=True, eq=False)
class _Before:
    """The state that a step starts from."""

    server: ServerState
    case: ProjectCase
    mask: LabelRuns = field(repr=False)
    drawn: Drawn
    scores: list[SliceScore]

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        return self.server.scans.open(self.case).stored.grid.spacing_mm

    def axis(self, plane: PlaneName, *slices: int) -> int:
        """The array axis of a plane that has these slices."""
        axis = self.server.scans.open(self.case).axis(plane)
        for index in slices:
            if index >= self.case.shape[axis]:
                raise NotFound(f"slice {index}", expected=f"0 to {self.case.shape[axis] - 1}", fix="choose one of them")
        return axis


@dataclass(frozen=True, eq=False)
class _After:
    """What a step makes of it.

    Args:
        objects: What becomes of descriptions.
        always: Whether it is saved although no voxel changed.
    """

    mask: LabelRuns
    drawn: Drawn
    scores: list[SliceScore]
    objects: list[Row] = field(default_factory=list)
    always: bool = False


@router.post("/steps")
def take_step(
    *, case: Case, server: Server, me: Annotator, seen: RequiredVersion, asked: StepIn, response: Response
) -> StepOut:
    """Change the mask or its objects; one step of undo. A step that changes nothing is not saved."""
    with conflicts_shown(server, case.id, me, seen):
        mask, drawn = mask_of(server, case, server.project.head(case.id, me).revision)
        before = _Before(server, case, mask, drawn, head_scores(server, case, me))
        locked = locked_objects(server, case, asked.kept)
        refuse_locked(_named(asked.do), locked)
        after = _apply(asked.do, before)
        kept = Guard(case.shape, {}, locked).over(mask, after.mask)
        changed = sum(int(np.count_nonzero(kept.plane(0, k) != mask.plane(0, k))) for k in kept.changed(mask))
        head = None
        if changed or after.always:
            event = {"step": asked.do.model_dump(mode="json", exclude_defaults=True), "objects": after.objects}
            head = save_state(
                server, case, me, kept, seen=seen, kind="edit", event=event, locked=after.drawn, scores=after.scores
            )
            apply_changes(server, case, event, "after")
    view = head_view(server, case.id, me, head)
    response.headers["ETag"] = f'"v{view.version}"'
    return StepOut(head=view, changed=changed)


def _named(do: Step) -> set[int | None]:
    """The objects that a step is for; what it does beside them leaves locked ones alone anyway."""
    return {do.label, do.into} if isinstance(do, MergeStep) else {getattr(do, "label", None)}


@singledispatch
def _apply(step: Step, before: _Before) -> _After:
    raise NotImplementedError(type(step).__name__)


@_apply.register
def _reshape(step: ReshapeStep, before: _Before) -> _After:
    mask, spacing = before.mask, before.spacing_mm
    if step.slice is None:
        shaped = reshape_object(mask.unfold(), step.label, step.how, by_mm=step.by, spacing_mm=spacing)
        return _After(LabelRuns.of(shaped, like=mask), before.drawn, before.scores)
    axis = before.axis(step.plane, step.slice)
    turned = None if spacing is None else (spacing[axis], *(spacing[at] for at in range(3) if at != axis))
    one_1HW = mask.plane(axis, step.slice)[None]
    shaped = reshape_object(one_1HW, step.label, step.how, by_mm=step.by, spacing_mm=turned)  # type: ignore[arg-type]
    return _After(
        mask.with_plane(axis, step.slice, shaped[0]),
        with_slice(before.drawn, [step.label], number_of(before.case.shape, axis, step.slice)),
        _without(before.scores, step.label, axis, {step.slice}),
    )  # fmt: skip


@_apply.register
def _interpolate(step: InterpolateStep, before: _Before) -> _After:
    axis = before.axis(step.plane, step.first, step.last)
    if step.last - step.first < 2:
        raise PromptError(
            f"slices {step.first} and {step.last}", expected="slices between them", fix="choose two further apart"
        )
    mask, spacing = before.mask, before.spacing_mm
    ends = [mask.plane(axis, k) == step.label for k in (step.first, step.last)]
    ratio = (1.0, 1.0) if spacing is None else tuple(spacing[at] for at in range(3) if at != axis)
    made = interpolate_masks(ends[0], ends[1], step.last - step.first - 1, ratio)  # type: ignore[arg-type]
    stay = set(by_axis(before.case.shape, before.drawn).get(step.label, {}).get(axis, []))
    for k, own_HW in enumerate(made, start=step.first + 1):
        if k not in stay:
            plane = mask.plane(axis, k)
            plane[(plane == step.label) & ~own_HW] = 0
            plane[own_HW & (plane == 0)] = step.label
            mask = mask.with_plane(axis, k, plane)
    between = set(range(step.first + 1, step.last)) - stay
    return _After(mask, before.drawn, _without(before.scores, step.label, axis, between))


@_apply.register
def _merge(step: MergeStep, before: _Before) -> _After:
    if step.label == step.into:
        raise PromptError(f"object {step.label} twice", expected="two objects", fix="choose another to merge with")
    drawn = dict(before.drawn)
    drawn[step.into] = drawn.get(step.into, frozenset()) | drawn.pop(step.label, frozenset())
    gone = change_object(before.server, before.case, step.label, None)
    scores = [s for s in before.scores if s.label != step.label]
    return _After(before.mask.replace(step.label, step.into), drawn, scores, [gone], always=True)


@_apply.register
def _delete(step: DeleteStep, before: _Before) -> _After:
    drawn = {label: own for label, own in before.drawn.items() if label != step.label}
    gone = change_object(before.server, before.case, step.label, None)
    scores = [s for s in before.scores if s.label != step.label]
    return _After(before.mask.replace(step.label, 0), drawn, scores, [gone], always=True)


@_apply.register
def _describe(step: DescribeStep, before: _Before) -> _After:
    described = change_object(before.server, before.case, step.object.label, step.object)
    return _After(before.mask, before.drawn, before.scores, [described], always=True)


@_apply.register
def _release(step: ReleaseStep, before: _Before) -> _After:
    number = number_of(before.case.shape, before.axis(step.plane, step.slice), step.slice)
    own = before.drawn.get(step.label, frozenset())
    drawn = {**before.drawn, step.label: own - {number}}
    return _After(before.mask, drawn, before.scores, always=number in own)


@_apply.register
def _take(step: TakeStep, before: _Before) -> _After:
    revision = revision_of(before.server, before.case.id, None, step.revision)
    theirs, drawn = mask_of(before.server, before.case, revision)
    scores = scores_of(before.server, revision)
    if step.label is None:
        return _After(theirs, drawn, scores)
    mask = before.mask.replace(step.label, 0)
    for k, one in enumerate(theirs.slices):
        if step.label in one.ids:
            plane = mask.plane(0, k)
            plane[theirs.plane(0, k) == step.label] = step.label
            mask = mask.with_plane(0, k, plane)
    others = {label: own for label, own in before.drawn.items() if label != step.label}
    return _After(
        mask, {**others, step.label: drawn.get(step.label, frozenset())},
        [s for s in before.scores if s.label != step.label] + [s for s in scores if s.label == step.label],
    )  # fmt: skip


def _without(scores: list[SliceScore], label: int, axis: int, slices: set[int]) -> list[SliceScore]:
    return [one for one in scores if not (one.label == label and one.axis == axis and one.slice in slices)]


codes = APIRouter(prefix="/api/v1", tags=["cases"])


@codes.get("/codes")
def find_codes(*, words: Annotated[str, Query(max_length=80)] = "") -> list[tuple[str, str, str]]:
    """Coded terms whose words begin so: scheme, value, meaning."""
    return search_codes(words)


@router.get("/comparison")
def compare(
    *, case: Case, server: Server, me: Annotator, revision: Annotated[RevisionId, Query()],
    tolerance: Annotated[float, Query(ge=0, le=100)] = TOLERANCE_MM,
) -> list[ComparisonView]:  # fmt: skip
    """How well one's own mask agrees with another version of the case, object by object."""
    grid = server.scans.open(case).stored.grid
    mine = mask_of(server, case, server.project.head(case.id, me).revision)[0].unfold()
    theirs = mask_of(server, case, revision_of(server, case.id, None, revision))[0].unfold()
    sizes: list[Mapping[int, int]] = [
        dict(zip(*(part.tolist() for part in np.unique(one, return_counts=True)), strict=True))
        for one in (mine, theirs)
    ]
    first, second = Mask(mine, grid), Mask(theirs, grid)
    return [
        ComparisonView(
            label=label, dice=dice(first, second, label=label),
            nsd=normalized_surface_distance(first, second, label=label, tolerance_mm=tolerance), tolerance=tolerance,
            unit="px" if grid.spacing_mm is None else "mm",
            voxels=(sizes[0].get(label, 0), sizes[1].get(label, 0)),
            both=int(np.count_nonzero((mine == label) & (theirs == label))),
        )
        for label in sorted({*sizes[0], *sizes[1]} - {0})
    ]  # fmt: skip
