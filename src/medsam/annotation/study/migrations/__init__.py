"""The schema of a project and the way from each older one to it, by Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from medsam.errors import DataError


def upgrade_schema(engine: Engine) -> None:
    """Bring a database to today's schema; nothing happens where it has it.

    Raises:
        DataError: a newer medsam made it.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # two who open at once bring it up to date one after the other
            connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
            raise DataError(
                f"a project of schema {current}",
                expected=f"schema {scripts.get_current_head()} or older",
                fix="open it with the version of medsam that made it, or a newer one",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
