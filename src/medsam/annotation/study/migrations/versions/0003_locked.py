"""Keep with each object whether it is locked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Objects of older projects are not locked."""
    op.add_column("objects", sa.Column("locked", sa.Boolean, nullable=False, server_default=sa.false()))
