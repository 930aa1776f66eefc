"""Objects that a step renames, merges or takes away: kept with the state, so that undo brings back what they were called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from medsam.annotation.study.project import ProjectCase, ProjectObject
from medsam.server.schemas import ObjectView
from medsam.server.state import ServerState

Row = dict[str, object]


def change_object(server: ServerState, case: ProjectCase, label: int, after: ObjectView | None) -> Row:
    """What a step does to the description of an object, as it is kept with the state.

    Args:
        after: None where the object goes.
    """
    known = next((item for item in server.project.objects(case.id) if item.label == label), None)
    before = None
    if known is not None:
        before = ObjectView(label=label, name=known.name, color=known.color, code=known.code).model_dump(mode="json")
    return {"label": label, "before": before, "after": None if after is None else after.model_dump(mode="json")}


def apply_changes(
    server: ServerState, case: ProjectCase, event: Mapping[str, object], side: Literal["before", "after"]
) -> None:
    """Describe the objects as they were before the step that an event tells of, or after it.

    An object that another annotator has in a mask keeps its description.
    """
    rows = event.get("objects")
    for row in rows if isinstance(rows, Sequence) else ():
        wanted, label = row[side], int(row["label"])
        if wanted is not None:
            item = ObjectView.model_validate(wanted)
            server.project.set_object(case.id, ProjectObject(label, item.name, item.color, item.code))
        elif not _is_drawn(server, case, label):
            server.project.remove_object(case.id, label)


def _is_drawn(server: ServerState, case: ProjectCase, label: int) -> bool:
    heads = (server.project.head(case.id, who) for who in server.project.annotators(case.id))
    return any(head.revision is not None and label in server.scans.state(head.revision).runs.ids for head in heads)
