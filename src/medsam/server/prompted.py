"""What was drawn for the model on each slice, read back from the states it made: so that a page knows it after a reload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from fastapi import APIRouter

from medsam.annotation.study.project import ProjectCase
from medsam.server.annotating import mask_of
from medsam.server.schemas import PlaneName, PromptView
from medsam.server.state import Annotator, Case, Server, ServerState

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["model"])
Spot = tuple[int, int, int]  # label, array axis, slice


@router.get("/prompts")
def read_prompts(*, case: Case, server: Server, me: Annotator) -> list[PromptView]:
    """The last prompt of each object on each slice, of the state that one stands at; none where the object is gone."""
    revision = server.project.head(case.id, me).revision
    if revision is None:
        return []
    mask, _ = mask_of(server, case, revision)
    found = _drawn(server, case, revision)
    return [one for one in found.values() if bool((mask.plane(one.axis, one.slice) == one.label).any())]


def _drawn(server: ServerState, case: ProjectCase, revision: int) -> dict[Spot, PromptView]:
    """Prompts by where they were drawn; a step that makes an object another's or takes it away takes its prompts too."""
    scan = server.scans.open(case)
    found: dict[Spot, PromptView] = {}
    for kind, event in server.project.events(case.id, revision):
        step = cast(Mapping[str, object], event.get("step") or {})
        if kind == "prompt":
            axis = scan.axis(cast(PlaneName, event["plane"]))
            for row in cast("list[Mapping[str, object]]", event["prompts"]):
                one = PromptView.model_validate({**row, "axis": axis, "axes": event.get("axes", [])})
                found[one.label, axis, one.slice] = one
        elif step.get("step") in ("delete", "merge", "take"):
            found = {spot: one for spot, one in found.items() if spot[0] != step.get("label", spot[0])}
    return found
