"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of version 0.1.0, as they were then."""
    op.create_table(
        "cases",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False, unique=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("shape", sa.JSON, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("added", sa.Float, nullable=False),
    )
    case = sa.ForeignKey("cases.id")
    op.create_table(
        "objects",
        sa.Column("case_id", sa.String(32), case, primary_key=True),
        sa.Column("label", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("color", sa.JSON),
        sa.Column("code", sa.JSON),
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("annotator", sa.String(64), nullable=False),
        sa.Column("parent", sa.Integer, sa.ForeignKey("revisions.id")),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("event", sa.JSON, nullable=False),
        sa.Column("locked", sa.JSON, nullable=False),
        sa.Column("mask", sa.LargeBinary, nullable=False),
    )
    _create_history()


def _create_history() -> None:
    op.create_table(
        "moves",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("annotator", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("revision", sa.Integer, sa.ForeignKey("revisions.id")),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "heads",
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), primary_key=True),
        sa.Column("annotator", sa.String(64), primary_key=True),
        sa.Column("revision", sa.Integer, sa.ForeignKey("revisions.id")),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "phases",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("case_id", sa.String(32), sa.ForeignKey("cases.id"), nullable=False, index=True),
        sa.Column("annotator", sa.String(64), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("active", sa.Float, nullable=False),
        sa.Column("idle", sa.Float, nullable=False),
    )
    op.create_table(
        "settings", sa.Column("key", sa.String(64), primary_key=True), sa.Column("value", sa.JSON, nullable=False)
    )
