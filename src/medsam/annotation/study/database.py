"""The database of a project: SQLite in a folder or PostgreSQL at an address, brought to today's schema, errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from medsam.annotation.study.migrations import upgrade_schema
from medsam.errors import DataError, MissingDependencyError, OutputError

FILE = "project.sqlite"
BUSY_SECONDS = 60.0  # how long a save waits for another process's save


SCHEMES = ("postgresql", "postgres")
TURN = 0x6D656473  # of the lock that writers of a project in PostgreSQL take, as those in SQLite lock the file
DISK_FULL = "53100"  # PostgreSQL's code


def find_folder(address: str | Path) -> Path | None:
    """The folder of a project in SQLite; None for an address of PostgreSQL."""
    return None if str(address).partition(":")[0] in SCHEMES else Path(address)


def holds_project(address: str | Path) -> bool:
    """Whether there is a project, of whatever version, at an address.

    Raises:
        DataError: the database does not answer.
    """
    folder = find_folder(address)
    if folder is not None:
        return (folder / FILE).is_file()
    engine = _engine(address)
    try:
        with database_errors_in_words():
            return inspect(engine).has_table("alembic_version")
    finally:
        engine.dispose()


def connect(address: str | Path) -> Engine:
    """Open the database at an address; an empty one gets the tables, an older one is brought up to date.

    Raises:
        DataError: it is no project, it is damaged, or a newer medsam made it.
    """
    engine = _engine(address)
    with database_errors_in_words():
        upgrade_schema(engine)
    return engine


def _engine(address: str | Path) -> Engine:
    folder = find_folder(address)
    if folder is not None:
        engine = create_engine(f"sqlite:///{folder / FILE}", connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    try:
        with database_errors_in_words():
            url = make_url(str(address)).set(drivername="postgresql+psycopg")
            wait = {"connect_timeout": 10, "options": f"-c lock_timeout={int(BUSY_SECONDS)}s"}
            return create_engine(url, pool_pre_ping=True, pool_size=16, max_overflow=32, connect_args=wait)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{error.name} is not installed", expected="the extra postgres", fix="pip install 'openmedsam[postgres]'"
        ) from None


def identify_file(engine: Engine) -> tuple[int, int] | None:
    """Which file a project lies in, whatever its name; None for PostgreSQL, and where it is away."""
    if engine.dialect.name != "sqlite":
        return None
    try:
        found = Path(str(engine.url.database)).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def take_turn(connection: Connection) -> None:
    """Begin a transaction that writes, after those of other processes."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    else:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({TURN})"))


def _prepare_sqlite(connection: object, _: object) -> None:
    """Commit by ourselves (BEGIN IMMEDIATE), write ahead, and wait for the disk at every commit."""
    connection.isolation_level = None  # type: ignore[attr-defined]
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]


@contextmanager
def database_errors_in_words() -> Iterator[None]:
    """Errors of the database as errors of ours, without statements or values."""
    try:
        yield
    except OperationalError as error:
        reason = str(error.orig).splitlines()[0] if error.orig else "it does not answer"
        code = getattr(error.orig, "sqlstate", None)
        if "full" in reason or "disk I/O" in reason or code == DISK_FULL:
            raise OutputError(
                "the disk of the project is full", expected="room for the mask", fix="free some, then save again"
            ) from None
        raise DataError(
            f"the project's database refuses ({reason[:80]})",
            expected="a database that answers",
            fix="check it, try again",
        ) from None
    except SQLAlchemyError as error:
        raise DataError(
            f"the project's database refuses ({type(error).__name__})",
            expected="a database made by medsam",
            fix="restore a backup, or make a new project",
        ) from None
