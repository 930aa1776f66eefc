"""What Alembic runs: the migrations, on the connection that upgrade_schema holds."""

from __future__ import annotations

from alembic import context

from medsam.annotation.study.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
