"""Writes that are whole or absent: a temporary file or folder beside the target, on the disk first, then a rename."""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medsam.errors import OutputError


@contextmanager
def replacing(
    path: str | Path, *, what: str = "the file", readable: bool = False, keep_folder: bool = False
) -> Iterator[Path]:
    """Give a temporary path beside `path`, of the same suffixes, that takes its place when the block ends well.

    The block writes a file there or makes a folder. A folder takes the place of none or of an empty one only.

    Args:
        path: The target; its folder is made. The file behind a link is replaced, not the link.
        what: Named in the error.
        readable: Let everybody read the file, whatever mode its writer gave it.
        keep_folder: Where a folder with something in it has got the name meanwhile, keep that one without an error.

    Raises:
        OutputError: the folder is missing or not writable, or the disk is full; what was there before is untouched.
    """
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if readable:
            temporary.chmod(temporary.stat().st_mode | 0o044)
        commit(temporary, target)
    except OSError as error:
        if keep_folder and error.errno in (errno.EEXIST, errno.ENOTEMPTY) and target.is_dir():
            return
        raise OutputError(
            f"{target} could not be written ({error.strerror or error})",
            expected=f"a writable folder with room for {what}",
            fix="free space, change permissions, or write elsewhere; what was there before is untouched",
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # the folder may be none
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        OutputError: as replacing.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write a value as indented JSON, as write_text does; what JSON does not know, as a path, becomes its text."""
    write_text(path, json.dumps(value, indent=1, default=str) + "\n")


def commit(temporary: Path, target: Path) -> None:
    """Give a finished file or folder its name, such that a power cut leaves the old one or the whole new one.

    Raises:
        OSError: the disk refused; nothing has changed its name.
    """
    for one in [*(temporary.rglob("*") if temporary.is_dir() else ()), temporary]:
        _sync(one)
    os.replace(temporary, target)
    _sync(target.parent)


def remove_folder(folder: Path) -> None:
    """Take a folder away so that a kill in between leaves no half one under its name, and no late writer can commit it.

    Raises:
        OSError: it could not be renamed. One that is not there is no error.
    """
    hidden = folder.with_name(f".{secrets.token_hex(6)}.removed")
    with suppress(FileNotFoundError):
        os.replace(folder, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have the disk keep a file or the names in a folder; only POSIX can do the latter."""
    if os.name != "posix" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
