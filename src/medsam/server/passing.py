"""The folder for what is sent and is not of the project, or not yet: it goes with the server, however that ends."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import rmtree

from medsam.errors import OutputError
from medsam.files.lock import hold_folder

WAIT_SECONDS = 10.0  # for another server that starts in the same moment


@contextmanager
def passing_folder(folder: Path) -> Iterator[Path]:
    """A folder of this process's own, removed at the end; those that processes left which were killed are removed first.

    Args:
        folder: In which each server has its own; made if need be.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror})", expected="a folder that may be written", fix="check the disk"
        ) from None
    own = folder / secrets.token_hex(16)
    with ExitStack() as stack:
        with hold_folder(folder, wait=WAIT_SECONDS):  # so that nobody takes one for left behind before it is locked
            for left in [one for one in folder.iterdir() if one.is_dir()]:
                with suppress(OutputError), hold_folder(left):  # refused where its server runs
                    rmtree(left, ignore_errors=True)
            own.mkdir(mode=0o700)
            stack.enter_context(hold_folder(own))
        stack.callback(rmtree, own, ignore_errors=True)
        yield own
