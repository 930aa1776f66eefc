"""Writes that are whole or absent: a temporary file in the same folder, then a rename."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medsam.errors import OutputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, of the same suffixes, that takes its place when the block ends well.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full; the old file is untouched.
    """
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))  # the file behind a link is replaced, not the link
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _keep_name(target.parent)
    except OSError as error:
        raise OutputError(
            f"{target} could not be written ({error.strerror or error})",
            expected="a writable folder with room for the file",
            fix="free space, change permissions, or write elsewhere; the old file, if any, is untouched",
        ) from error
    finally:
        with suppress(OSError):  # the folder may be none
            temporary.unlink(missing_ok=True)


def _keep_name(folder: Path) -> None:
    """Make the rename itself survive a power cut; only POSIX can sync a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
