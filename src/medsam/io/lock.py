"""One process at a time in a folder; the lock goes with the process, however it ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medsam.errors import OutputError

LOCK = ".lock"
log = logging.getLogger("medsam")


@contextmanager
def alone(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Within, no other process that asks for it is in the folder.

    Args:
        folder: There already, and writable. The file .lock in it stays.
        wait: Seconds to wait for another one: what it has started may leave a little later than itself.

    Raises:
        OutputError: another process is in it, or the folder is not writable.
    """
    if sys.platform == "win32":  # no such locks on folders shared by several systems there
        yield
        return
    import fcntl

    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written ({error.strerror})",
            expected="a writable folder",
            fix="check the path and its permissions",
        ) from None
    deadline = time.monotonic() + wait
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                raise OutputError(
                    f"another run writes to {folder}", expected="one run at a time", fix="wait for it, or end it"
                ) from None
            except OSError as error:  # a network disk without locks
                log.warning("%s cannot be locked (%s): see that one run at a time writes to it", folder, error.strerror)
                break
        yield
