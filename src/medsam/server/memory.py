"""The memory of a server that runs for weeks: what is no longer needed goes back to the system.

An error holds the frames it came through, and those what they worked on, as masks of megabytes; such rings are freed by
Python's collector alone, which in a process with a model's many objects comes by so rarely that they pile up. What the C
library frees it keeps for itself, in a heap for each of many threads.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import traceback
from functools import cache

ARENAS = 2  # heaps of the C library; without a limit there are eight for each core
M_ARENA_MAX = -8  # its number in malloc.h


def settle_memory() -> None:
    """Take what there is now for what stays, so that looking for rings is quick from then on; once, before threads begin."""
    glibc = _glibc()
    if glibc is not None:
        glibc.mallopt(M_ARENA_MAX, ARENAS)
    gc.collect()
    gc.freeze()


def tidy_memory() -> None:
    """Free rings of objects, and give free memory back to the system."""
    gc.collect()
    glibc = _glibc()
    if glibc is not None:
        glibc.malloc_trim(0)


def clear_frames(error: BaseException | None) -> None:
    """Let an error that is kept go on without what the functions that it went through worked on."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is GNU's."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
