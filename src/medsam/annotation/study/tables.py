"""The tables of a project. Rows of `revisions`, `moves` and `activity` are only ever added."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
)

METADATA = MetaData()

CASES = Table(
    "cases",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("number", Integer, nullable=False, unique=True),  # what people see: "case 7"
    Column("source", Text, nullable=False),  # where the scan lies; never shown outside the project
    Column("options", JSON, nullable=False),  # modality, window, series, volume, plane
    Column("shape", JSON, nullable=False),  # D, H, W
    Column("fingerprint", String(64), nullable=False),  # of the voxels, so that another scan in its place is noticed
    Column("status", String(16), nullable=False),
    Column("added", Float, nullable=False),  # seconds since 1970
)

OBJECTS = Table(
    "objects",
    METADATA,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("label", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("color", JSON),  # red, green, blue
    Column("code", JSON),  # scheme, value, meaning
    Column("locked", Boolean, nullable=False, server_default=false()),  # nothing changes it
)

REVISIONS = Table(
    "revisions",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("annotator", String(64), nullable=False),
    Column("parent", ForeignKey("revisions.id")),
    Column("kind", String(16), nullable=False),  # prompt, model, edit, import
    Column("at", Float, nullable=False),
    Column("event", JSON, nullable=False),  # prompts, markers, model, weights, window, seconds: what made it
    Column("locked", JSON, nullable=False),  # {label: [slices drawn by hand]}
    Column("mask", LargeBinary, nullable=False),
)

MOVES = Table(
    "moves",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("annotator", String(64), nullable=False),
    Column("kind", String(8), nullable=False),  # save, undo, redo
    Column("revision", ForeignKey("revisions.id")),  # None: before the first
    Column("at", Float, nullable=False),
)

HEADS = Table(
    "heads",
    METADATA,
    Column("case_id", ForeignKey("cases.id"), primary_key=True),
    Column("annotator", String(64), primary_key=True),
    Column("revision", ForeignKey("revisions.id")),
    Column("version", Integer, nullable=False),  # counts moves; a save names the version that it has seen
)

ACTIVITY = Table(
    "activity",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False, index=True),
    Column("annotator", String(64), nullable=False),
    Column("phase", String(16), nullable=False),  # marking, model, refining, review
    Column("at", Float, nullable=False),  # when it ended, seconds since 1970
    Column("seconds", Float, nullable=False),  # how long it took by itself
)

SETTINGS = Table(
    "settings",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("value", JSON, nullable=False),
)
