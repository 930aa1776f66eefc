"""One process at a time in a folder; the lock goes with the process, however it ends."""

from __future__ import annotations

import errno
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from medsam.errors import OutputError

LOCK = ".lock"
HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}  # what the systems say of a lock that another process has
log = logging.getLogger("medsam")


@contextmanager
def hold_folder(folder: Path, *, name: str = LOCK, wait: float = 0.0) -> Iterator[None]:
    """Within, no other process that asks for the same lock is in the folder.

    Args:
        folder: There already, and writable.
        name: Of the file in it that is locked; it stays. Other names are other locks.
        wait: Seconds to wait for another one: what it has started may leave a little later than itself.

    Raises:
        OutputError: another process is in it, or the folder is not writable.
    """
    try:
        file = (folder / name).open("a")
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror})",
            expected="a writable folder",
            fix="check the path and its permissions",
        ) from error
    deadline = time.monotonic() + wait
    with file:
        while not _lock(file, folder):
            if time.monotonic() >= deadline:
                raise OutputError(
                    f"another run writes to {folder}", expected="one run at a time", fix="wait for it, or end it"
                )
            time.sleep(0.05)
        yield


def _lock(file: IO[str], folder: Path) -> bool:
    """Take the lock; False where another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        # a network disk without locks
        log.warning("%s cannot be locked (%s): see that one run at a time writes to it", folder, error.strerror)
    return True
