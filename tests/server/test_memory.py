"""Memory that is given back."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from medsam.server.memory import clear_frames, tidy_memory


class Mask:
    def __init__(self) -> None:
        self.ring: object = None


def failed(seen: list[weakref.ref[Mask]]) -> Exception:
    def inner() -> None:
        first = Mask()
        seen.append(weakref.ref(first))
        raise KeyError

    def outer() -> None:
        second = Mask()
        seen.append(weakref.ref(second))
        try:
            inner()
        except KeyError:
            raise ValueError from None

    try:
        outer()
    except ValueError as error:
        return error
    raise AssertionError


def test_an_error_and_the_one_before_it_let_go_of_what_was_worked_on() -> None:
    seen: list[weakref.ref[Mask]] = []
    gc.disable()
    try:
        error = failed(seen)
        assert all(one() is not None for one in seen) and len(seen) == 2
        clear_frames(error)
        assert all(one() is None for one in seen)
        clear_frames(None)
    finally:
        gc.enable()


def test_rings_of_objects_are_freed() -> None:
    mask = Mask()
    mask.ring, gone = mask, weakref.ref(mask)
    gc.disable()
    try:
        del mask
        assert gone() is not None
        tidy_memory()
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and glibc")
def test_a_settled_process_gives_the_memory_of_many_threads_back() -> None:
    code = """
import gc, mmap, threading
from medsam.server.memory import settle_memory, tidy_memory

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * mmap.PAGESIZE / 2**20

settle_memory()
assert gc.get_freeze_count() > 0
before = resident_mib()
kept = []

def work():
    blocks = [bytearray(60_000) for _ in range(1000)]
    kept.append(blocks[-1])  # at the top of the heap, so that the rest does not go by itself
    blocks.clear()

for _ in range(8):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
tidy_memory()
assert resident_mib() - before < 20, resident_mib() - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
