"""A project: where annotations live. Every save is one transaction, history is only ever added to, nothing is lost.

Each annotator has a line of revisions of a case. A head says where an annotator stands in it and carries a version; a save names the version it has
seen and is refused where another save came between. Undo and redo are moves of the head, kept like saves, so they survive a restart.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update

from medsam.annotation.study.database import (
    FILE,
    connect,
    database_errors_in_words,
    find_folder,
    holds_project,
    identify_file,
    take_turn,
)
from medsam.annotation.study.heads import Head, move_head, read_head, undone_revisions
from medsam.annotation.study.label_runs import LabelRuns, decode_runs, encode_runs
from medsam.annotation.study.rows import (
    STATUSES,
    Kind,
    ProjectCase,
    ProjectObject,
    Revision,
    Status,
    check_object,
    find_case_name,
    read_object,
    read_revision,
)
from medsam.annotation.study.tables import ACTIVITY, CASES, HEADS, MOVES, OBJECTS, REVISIONS
from medsam.annotation.study.timing import Activity, Phase
from medsam.errors import DataError, OutputError

__all__ = [
    "STATUSES", "Kind", "Project", "ProjectCase", "ProjectObject", "Revision", "Status", "create_project", "open_project",
]  # fmt: skip


class Project:
    """A project that is open; close it, or use it in a with statement."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._file = identify_file(engine)

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def add_case(
        self, source: str, labels_shape: tuple[int, int, int], fingerprint: str, options: Mapping[str, object]
    ) -> ProjectCase:
        """Add a scan.

        Raises:
            DataError: a scan of the same voxels is there already.
        """
        with self._writing() as connection:
            twin = connection.execute(select(CASES.c.number).where(CASES.c.fingerprint == fingerprint)).scalar()
            if twin is not None:
                raise DataError(
                    f"a scan with the voxels of case {twin}", expected="a scan once", fix=f"open case {twin} instead"
                )
            number = (connection.execute(select(func.max(CASES.c.number))).scalar() or 0) + 1
            case = ProjectCase(secrets.token_hex(16), number, source, dict(options), labels_shape, fingerprint, "new")
            row = {
                "id": case.id, "number": number, "source": source, "options": dict(options), "shape": list(labels_shape),
                "fingerprint": fingerprint, "status": "new", "added": time.time(),
            }  # fmt: skip
            connection.execute(insert(CASES).values(row))
        return case

    def cases(self) -> list[ProjectCase]:
        """All cases in the order they were added."""
        with self._reading() as connection:
            return [
                find_case_name(row) for row in connection.execute(select(CASES).order_by(CASES.c.number)).mappings()
            ]

    def case(self, case_id: str) -> ProjectCase:
        """One case.

        Raises:
            DataError: there is none of this id.
        """
        with self._reading() as connection:
            row = connection.execute(select(CASES).where(CASES.c.id == case_id)).mappings().first()
        if row is None:
            raise DataError("a case that is not in the project", expected="the id of a case", fix="list the cases")
        return find_case_name(row)

    def set_status(self, case_id: str, status: Status) -> None:
        """Say how far a case is.

        Raises:
            DataError: an unknown status or case.
        """
        if status not in STATUSES:
            raise DataError(f"status {status!r}", expected=", ".join(STATUSES), fix="choose one of them")
        self.case(case_id)
        with self._writing() as connection:
            connection.execute(update(CASES).where(CASES.c.id == case_id).values(status=status))

    def set_object(self, case_id: str, item: ProjectObject) -> None:
        """Name an object of a case, or name it anew; one that is locked stays locked.

        Raises:
            DataError: a label that a mask cannot hold, a text or a colour that is none, or an unknown case.
        """
        check_object(item)
        self.case(case_id)
        values = {
            "name": item.name,
            "color": list(item.color) if item.color else None,
            "code": list(item.code) if item.code else None,
        }
        key = (OBJECTS.c.case_id == case_id) & (OBJECTS.c.label == item.label)
        with self._writing() as connection:
            if connection.execute(update(OBJECTS).where(key).values(values)).rowcount == 0:
                connection.execute(insert(OBJECTS).values(case_id=case_id, label=item.label, **values))

    def lock_object(self, case_id: str, label: int, *, locked: bool) -> None:
        """Lock an object of a case, or unlock it.

        Raises:
            DataError: the case has no object of this label.
        """
        key = (OBJECTS.c.case_id == case_id) & (OBJECTS.c.label == label)
        with self._writing() as connection:
            if connection.execute(update(OBJECTS).where(key).values(locked=locked)).rowcount == 0:
                raise DataError(f"object {label}", expected="a named object of the case", fix="name it first")

    def remove_object(self, case_id: str, label: int) -> None:
        """Forget the description of an object; masks that hold its label stay."""
        key = (OBJECTS.c.case_id == case_id) & (OBJECTS.c.label == label)
        with self._writing() as connection:
            connection.execute(delete(OBJECTS).where(key))

    def objects(self, case_id: str) -> list[ProjectObject]:
        """The named objects of a case, by label."""
        query = select(OBJECTS).where(OBJECTS.c.case_id == case_id).order_by(OBJECTS.c.label)
        with self._reading() as connection:
            return [read_object(row) for row in connection.execute(query).mappings()]

    def head(self, case_id: str, annotator: str) -> Head:
        """Where an annotator stands; version 0 before the first save."""
        with self._reading() as connection:
            return read_head(connection, case_id, annotator)

    def annotators(self, case_id: str) -> list[str]:
        """Who has saved something in a case."""
        query = select(HEADS.c.annotator).where(HEADS.c.case_id == case_id).order_by(HEADS.c.annotator)
        with self._reading() as connection:
            return list(connection.execute(query).scalars())

    def save(
        self, case_id: str, annotator: str, labels_DHW: NDArray[np.integer] | LabelRuns, *, seen: int, kind: Kind,
        event: Mapping[str, object] | None = None, locked: Mapping[int, frozenset[int]] | None = None,
    ) -> tuple[int, Head]:  # fmt: skip
        """Save a state of a case. When this returns, it is on the disk.

        Args:
            labels_DHW: The whole mask, of the case's shape; of runs only the slices that are new are packed.
            seen: The version of the head that this state was made from.
            kind: What made it.
            event: What made it, in JSON values; no patient data.
            locked: Slices drawn by hand; those of the state before without it.

        Returns:
            The id of the revision, and the new head.

        Raises:
            ConflictError: another save or move came between; nothing is written.
            DataError: a mask of another shape. OutputError: the disk is full; nothing is written.
        """
        case = self.case(case_id)
        if labels_DHW.shape != case.shape:
            raise DataError(
                f"a mask of shape {labels_DHW.shape}", expected=f"{case.shape}, the scan's", fix="send the whole mask"
            )
        mask, now = encode_runs(labels_DHW), time.time()
        with self._writing() as connection:
            head = read_head(connection, case_id, annotator)
            before = _locked_of(connection, head.revision) if locked is None else {}
            slices = {str(n): sorted(own) for n, own in (locked or {}).items()} if locked is not None else before
            row = {
                "case_id": case_id, "annotator": annotator, "parent": head.revision, "kind": kind, "at": now,
                "event": dict(event or {}), "locked": slices, "mask": mask,
            }  # fmt: skip
            made = connection.execute(insert(REVISIONS).values(row)).inserted_primary_key
            assert made is not None  # noqa: S101 - a single row has its key
            return int(made[0]), move_head(connection, case_id, annotator, seen=seen, to=int(made[0]), kind="save")

    def undo(self, case_id: str, annotator: str, *, seen: int) -> Head:
        """Go back to the state before.

        Raises:
            ConflictError: another save or move came between. DataError: there is nothing to undo.
        """
        with self._writing() as connection:
            head = read_head(connection, case_id, annotator)
            if head.revision is None:
                raise DataError("nothing to undo", expected="a saved state", fix="draw something first")
            parent = connection.execute(select(REVISIONS.c.parent).where(REVISIONS.c.id == head.revision)).scalar()
            return move_head(connection, case_id, annotator, seen=seen, to=parent, kind="undo")

    def redo(self, case_id: str, annotator: str, *, seen: int) -> Head:
        """Take back the last undo.

        Raises:
            ConflictError: another save or move came between. DataError: there is nothing to redo.
        """
        with self._writing() as connection:
            undone = undone_revisions(connection, case_id, annotator)
            if not undone:
                raise DataError("nothing to redo", expected="a state that was undone", fix="undo first")
            return move_head(connection, case_id, annotator, seen=seen, to=undone[-1], kind="redo")

    def revision(self, revision_id: int, known: Mapping[int, Revision] | None = None) -> Revision:
        """One saved state with its mask.

        Args:
            known: States that were read before, by id; with its parent among them it shares the slices that are equal.

        Raises:
            DataError: there is none of this id, or it is damaged.
        """
        with self._reading() as connection:
            row = connection.execute(select(REVISIONS).where(REVISIONS.c.id == revision_id)).mappings().first()
        if row is None:
            raise DataError(f"revision {revision_id}", expected="a revision of the project", fix="ask for the history")
        return read_revision(row, known)

    def current(self, case_id: str, annotator: str) -> Revision | None:
        """The state an annotator stands at; None before the first."""
        head = self.head(case_id, annotator)
        return None if head.revision is None else self.revision(head.revision)

    def events(self, case_id: str, revision_id: int | None) -> list[tuple[Kind, Mapping[str, object]]]:
        """What made a saved state and all states before it, the first one first; without their masks."""
        columns = (REVISIONS.c.id, REVISIONS.c.parent, REVISIONS.c.kind, REVISIONS.c.event)
        with self._reading() as connection:
            rows = connection.execute(select(*columns).where(REVISIONS.c.case_id == case_id)).all()
        made = {row.id: row for row in rows}
        events: list[tuple[Kind, Mapping[str, object]]] = []
        while revision_id is not None:
            row = made[revision_id]
            events.append((row.kind, row.event))
            revision_id = row.parent
        return events[::-1]

    def history(self, case_id: str) -> list[tuple[str, str, int | None, float]]:
        """All moves of a case in order: annotator, "save", "undo" or "redo", the revision reached, seconds since 1970."""
        query = select(MOVES).where(MOVES.c.case_id == case_id).order_by(MOVES.c.id)
        with self._reading() as connection:
            rows = connection.execute(query).mappings()
            return [(row["annotator"], row["kind"], row["revision"], row["at"]) for row in rows]

    def record(self, case_id: str, annotator: str, moments: Sequence[tuple[Phase, float, float]]) -> None:
        """Keep that an annotator did something, from which the time of each phase is measured.

        Args:
            moments: What it was part of, when it ended, in seconds since 1970, and how many seconds it took by itself.
        """
        rows = [
            {"case_id": case_id, "annotator": annotator, "phase": phase, "at": at, "seconds": seconds}
            for phase, at, seconds in moments
        ]
        if rows:
            with self._writing() as connection:
                connection.execute(insert(ACTIVITY), rows)

    def activities(self) -> list[Activity]:
        """All that annotators did, in the order in which it was kept."""
        columns = (CASES.c.number, ACTIVITY.c.annotator, ACTIVITY.c.phase, ACTIVITY.c.at, ACTIVITY.c.seconds)
        query = select(*columns).join(CASES, CASES.c.id == ACTIVITY.c.case_id).order_by(ACTIVITY.c.id)
        with self._reading() as connection:
            return [Activity(*row) for row in connection.execute(query)]

    def ping(self) -> None:
        """Ask the database for something small.

        Raises:
            DataError: it does not answer.
        """
        with self._reading() as connection:
            connection.execute(select(CASES.c.number).limit(1)).all()

    def check(self) -> list[str]:
        """Problems of the database: its own integrity check, and every mask unpacked; empty where all is well."""
        found: list[str] = []
        with self._reading() as connection:
            if self._engine.dialect.name == "sqlite":
                answers = connection.execute(text("PRAGMA integrity_check")).scalars().all()
                found += [str(answer) for answer in answers if answer != "ok"]
            for row in connection.execute(select(REVISIONS.c.id, REVISIONS.c.mask)).mappings():
                try:
                    decode_runs(row["mask"])
                except DataError as error:
                    found.append(f"revision {row['id']}: {error.got}")
        return found

    def _check_file(self) -> None:
        """Refuse to go on in another file: what is saved would go to one that is gone, and no connection may be opened."""
        if identify_file(self._engine) != self._file:
            raise DataError(
                "the project's file is another than was opened", expected="the same file",
                fix="put it back; before another takes its place, end the server",
            )  # fmt: skip

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check_file()
        with database_errors_in_words(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._check_file()
        with database_errors_in_words(), self._engine.begin() as connection:
            take_turn(connection)
            yield connection


def create_project(address: str | Path) -> Project:
    """Make a new project.

    Args:
        address: A folder that is new or empty, or postgresql://... of an empty database.

    Raises:
        DataError: there is a project already. OutputError: the place cannot be written.
    """
    folder = find_folder(address)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be made ({error.strerror})",
                expected="a folder that may be written",
                fix="choose another",
            ) from None
    if holds_project(address):
        raise DataError(f"{address} holds a project already", expected="a new place", fix="open it instead")
    return Project(connect(address))


def open_project(address: str | Path) -> Project:
    """Open a project; one of an older version of medsam is brought up to date.

    Raises:
        DataError: there is none, it is damaged, or a newer medsam made it.
    """
    if not holds_project(address):
        place = f"a folder with {FILE}" if find_folder(address) is not None else "a database made by medsam"
        raise DataError(f"{address} holds no project", expected=place, fix="make one with medsam project new")
    return Project(connect(address))


def _locked_of(connection: Connection, revision: int | None) -> dict[str, list[int]]:
    found = connection.execute(select(REVISIONS.c.locked).where(REVISIONS.c.id == revision)).scalar()
    return dict(found or {})
