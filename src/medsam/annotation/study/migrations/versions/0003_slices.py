"""Masks may be packed slice by slice (MLR2) from here on, which an older medsam cannot read."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing but the number: what was packed before is still read."""
