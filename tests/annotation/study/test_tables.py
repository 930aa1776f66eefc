"""The tables in code are the tables that the migrations make."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, create_engine, inspect

from medsam.annotation.study.database import FILE
from medsam.annotation.study.project import create_project
from medsam.annotation.study.tables import METADATA


def layout(engine: Engine) -> dict[str, object]:
    """What a database says of each of its tables."""
    seen = inspect(engine)
    return {
        table: (
            {(c["name"], str(c["type"]), c["nullable"], c["primary_key"]) for c in seen.get_columns(table)},
            {
                (*k["constrained_columns"], k["referred_table"], *k["referred_columns"])
                for k in seen.get_foreign_keys(table)
            },
            {tuple(index["column_names"]) for index in seen.get_indexes(table)},
            {tuple(unique["column_names"]) for unique in seen.get_unique_constraints(table)},
        )
        for table in seen.get_table_names()
        if table != "alembic_version"
    }


def test_a_new_project_has_the_tables_of_the_code(tmp_path: Path) -> None:
    create_project(tmp_path / "p").close()
    migrated = create_engine(f"sqlite:///{tmp_path / 'p' / FILE}")
    told = create_engine("sqlite://")
    METADATA.create_all(told)
    assert sorted(layout(migrated)) == ["activity", "cases", "heads", "moves", "objects", "revisions", "settings"]
    assert layout(migrated) == layout(told)
    migrated.dispose()
    told.dispose()
