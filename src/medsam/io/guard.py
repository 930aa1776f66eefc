"""One guard around whatever reads an untrusted file: nothing but the package's own errors leaves it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medsam.errors import InputFileError, MedsamError


@contextmanager
def guarded(path: str | Path, what: str) -> Iterator[None]:
    """Turn any error of somebody else's reader into one line that names the file and not its content.

    Args:
        path: The file that is read.
        what: What it should be, with its article: "an NRRD file", "a file of prompts".

    Raises:
        InputFileError: in place of whatever was raised inside; errors of the package pass as they are, and so does a
            full disk, which is no fault of the file.
    """
    try:
        yield
    except MedsamError:
        raise
    except MemoryError:
        raise InputFileError(
            f"{path} asks for more memory than there is",
            expected=what,
            fix="check where the file comes from; crop or split it if it is yours",
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = error.strerror or type(error).__name__
        raise InputFileError(
            f"{path} cannot be read ({reason})", expected=what, fix="check the path and its permissions"
        ) from None
    except Exception as error:  # whatever a library raises on bytes that somebody damaged
        raise InputFileError(
            f"{path} cannot be read ({type(error).__name__})",
            expected=what,
            fix="the file is damaged or of another kind: copy or export it again",
        ) from error
