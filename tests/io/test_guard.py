"""Nothing but an error of ours leaves a reader, and it says which file and not what is in it."""

from __future__ import annotations

import errno
import os

import pytest

from medsam.errors import GeometryError, InputFileError
from medsam.io.guard import guarded


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("Doe^Jane 1970"), r"a.nrrd cannot be read \(ValueError\); expected an NRRD file"),
        (RecursionError(), "RecursionError"),
        (MemoryError(), "asks for more memory than there is"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "Permission denied"),
    ],
)
def test_foreign_errors_become_one_line_without_the_content(error, words):
    with pytest.raises(InputFileError, match=words) as caught, guarded("a.nrrd", "an NRRD file"):
        raise error
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    "error", [GeometryError("a", expected="b", fix="c"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()]
)
def test_our_errors_a_full_disk_and_an_interrupt_pass(error):
    with pytest.raises(type(error)) as caught, guarded("a.nrrd", "an NRRD file"):
        raise error
    assert caught.value is error


def test_nothing_happens_to_what_goes_well():
    with guarded("a.nrrd", "an NRRD file"):
        value = 3
    assert value == 3
