"""Where an annotator stands in a case: one row that only moves from the version that was seen, and the history of its moves."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from medsam.annotation.study.tables import HEADS, MOVES
from medsam.errors import ConflictError


@dataclass(frozen=True)
class Head:
    """Where an annotator stands in a case: a revision, None before the first, and the version a save must name."""

    revision: int | None
    version: int


def read_head(connection: Connection, case_id: str, annotator: str) -> Head:
    """Where an annotator stands; version 0 before the first save."""
    query = select(HEADS).where((HEADS.c.case_id == case_id) & (HEADS.c.annotator == annotator))
    row = connection.execute(query).mappings().first()
    return Head(None, 0) if row is None else Head(row["revision"], row["version"])


def move_head(connection: Connection, case_id: str, annotator: str, *, seen: int, to: int | None, kind: str) -> Head:
    """Move the head from the version that was seen, or refuse; the database decides between two that come at once.

    Raises:
        ConflictError: the head is at another version by now.
    """
    key = (HEADS.c.case_id == case_id) & (HEADS.c.annotator == annotator)
    now = read_head(connection, case_id, annotator)
    if now.version == seen == 0:
        connection.execute(insert(HEADS).values(case_id=case_id, annotator=annotator, revision=to, version=1))
    else:
        moved = connection.execute(
            update(HEADS).where(key & (HEADS.c.version == seen)).values(revision=to, version=seen + 1)
        )
        if moved.rowcount != 1:
            raise ConflictError(
                f"version {seen} of the case, which stands at version {now.version}",
                expected="the latest version",
                fix="fetch the latest state, compare both and save again",
            )
    connection.execute(
        insert(MOVES).values(case_id=case_id, annotator=annotator, kind=kind, revision=to, at=time.time())
    )
    return Head(to, seen + 1)


def undone_revisions(connection: Connection, case_id: str, annotator: str) -> list[int]:
    """Revisions that redo can reach, the next one last: what was undone since the last save."""
    query = select(MOVES).where((MOVES.c.case_id == case_id) & (MOVES.c.annotator == annotator)).order_by(MOVES.c.id)
    stack: list[int] = []
    at: int | None = None
    for row in connection.execute(query).mappings():
        if row["kind"] == "undo" and at is not None:
            stack.append(at)
        elif row["kind"] == "redo":
            stack.pop()
        else:
            stack.clear()
        at = row["revision"]
    return stack
