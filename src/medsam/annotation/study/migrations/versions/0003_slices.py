"""Masks may be packed slice by slice (MLR2) from here on, which an older medsam cannot read; objects can be locked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Objects of older projects are not locked; masks that were packed before are still read."""
    op.add_column("objects", sa.Column("locked", sa.Boolean, nullable=False, server_default=sa.false()))
