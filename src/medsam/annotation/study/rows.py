"""What a project holds, as values, and how they come out of its rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import RowMapping

from medsam.annotation.study.label_runs import LabelRuns, decode_runs
from medsam.errors import DataError

MAX_TEXT = 200
Status = Literal["new", "in work", "done", "reviewed"]
Kind = Literal["prompt", "model", "edit", "import", "consensus"]
STATUSES: tuple[Status, ...] = ("new", "in work", "done", "reviewed")


@dataclass(frozen=True)
class ProjectCase:
    """One scan of a project.

    Args:
        id: Opaque; safe in addresses.
        number: From 1, in the order they were added.
        source: Where the scan lies. It may hold names: it is never shown outside the project.
        options: How it is read: "modality", "window", "series", "volume", "plane".
        shape: (D, H, W).
        fingerprint: sha256 of its voxels.
        status: "new", "in work", "done" or "reviewed".
    """

    id: str
    number: int
    source: str
    options: Mapping[str, object]
    shape: tuple[int, int, int]
    fingerprint: str
    status: Status


@dataclass(frozen=True)
class ProjectObject:
    """One structure that is outlined in a case.

    Args:
        label: Its number in masks, 1 to 65535.
        name: Free text.
        color: Red, green, blue, 0 to 255; the palette's without it.
        code: Scheme, value and meaning of a coded term.
        locked: Whether nothing may change it.
    """

    label: int
    name: str
    color: tuple[int, int, int] | None = None
    code: tuple[str, str, str] | None = None
    locked: bool = False


@dataclass(frozen=True, eq=False)
class Revision:
    """One saved state of a case.

    Args:
        id: Grows with time.
        case_id: Of which case.
        parent: What it was made from; None for the first.
        annotator: Who saved it.
        kind: What made it.
        at: Seconds since 1970.
        event: Prompts, markers, model, weights, window, seconds: what made it, as saved.
        locked: {label: slices drawn by hand}, which a model result does not overwrite.
        runs: The mask, of the case's shape.
    """

    id: int
    case_id: str
    parent: int | None
    annotator: str
    kind: Kind
    at: float
    event: Mapping[str, object]
    locked: Mapping[int, frozenset[int]]
    runs: LabelRuns = field(repr=False)

    @property
    def labels(self) -> NDArray[np.uint16]:
        """The mask unfolded, at every call: (D, H, W), uint16."""
        return self.runs.unfold()


def check_object(item: ProjectObject) -> None:
    """Refuse a description that masks, databases or file headers cannot hold.

    Raises:
        DataError: a label, a colour, or a text that is too long or holds control characters.
    """
    if not 1 <= item.label <= 65535:
        raise DataError(f"label {item.label}", expected="1 to 65535", fix="number the objects from 1")
    if item.color is not None and not all(0 <= part <= 255 for part in item.color):
        raise DataError("a colour that is none", expected="red, green and blue from 0 to 255", fix="choose another")
    for text in (item.name, *(item.code or ())):
        if len(text) > MAX_TEXT or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise DataError(
                f"a name or code that is no line of text ({len(text)} characters)", fix="write another",
                expected=f"at most {MAX_TEXT} characters, none of them a control character",
            )  # fmt: skip


def find_case_name(row: RowMapping) -> ProjectCase:
    """A row of `cases`."""
    depth, height, width = row["shape"]
    shape = (int(depth), int(height), int(width))
    return ProjectCase(
        row["id"], row["number"], row["source"], row["options"], shape, row["fingerprint"], row["status"]
    )


def read_object(row: RowMapping) -> ProjectObject:
    """A row of `objects`."""
    color: Sequence[int] | None = row["color"]
    code: Sequence[str] | None = row["code"]
    return ProjectObject(
        row["label"],
        row["name"],
        (color[0], color[1], color[2]) if color else None,
        (code[0], code[1], code[2]) if code else None,
        bool(row["locked"]),
    )


def read_revision(row: RowMapping, known: Mapping[int, Revision] | None = None) -> Revision:
    """A row of `revisions`, its mask unpacked.

    Args:
        known: Others by id; slices in which it does not differ from its parent are shared with that one.

    Raises:
        DataError: the mask is damaged.
    """
    locked = {int(label): frozenset(slices) for label, slices in row["locked"].items()}
    parent = (known or {}).get(row["parent"])
    return Revision(
        row["id"],
        row["case_id"],
        row["parent"],
        row["annotator"],
        row["kind"],
        row["at"],
        row["event"],
        locked,
        decode_runs(row["mask"], like=None if parent is None else parent.runs),
    )
