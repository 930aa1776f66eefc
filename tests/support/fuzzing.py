"""Mutants of good files, and a child of bounded memory that reads them: used by tests/test_fuzz.py and benchmarks/fuzz.py.

Mutant i of a family under a seed is always the same bytes, so that a failure can be made again from three numbers.
"""

from __future__ import annotations

import copy
import gzip
import json
import multiprocessing
import os
import random
import re
import resource
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

from medsam.errors import MedsamError

SECONDS = 20
MEMORY = 2 << 30  # of address space, beyond what the child has after its imports
NUMBERS = (
    "0", "-1", "1", "3", "255", "65536", "2147483648", "-9223372036854775809", "1e308", "-1e400", "1e-320", "NaN", "Infinity",
    "9" * 400, "0.5", "", "x", "0x10", "1_0", "999999999",
)  # fmt: skip
BYTES = (
    b"\0\0",
    b"\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\x01\0",
    b"\xef\xbb\xbf",
    b"\n",
    b"\0",
)
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1e308, float("nan"), float("inf"), 10**400, 1 << 63, "", "x", "1", [], {}, [[]], [None], {"a": {}},
    [1e308, -1e308], [[[[[[1]]]]]], "\ud800", "\0",
)  # fmt: skip
DEEP = 5000


@dataclass(frozen=True)
class Family:
    """Files of one kind.

    Args:
        name: For the table.
        make: Writes a good file (and what belongs to it) into an empty folder; gives the files to damage, first the one to read.
        read: Reads the first of them; anything but an error of the package is a failure.
    """

    name: str
    make: Callable[[Path], list[Path]]
    read: Callable[[Path], object]


@dataclass
class Tally:
    """What became of the mutants of a family, and the first examples of each failure as (seed, number, last line)."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, int, int, str]] = field(default_factory=list)

    def add(self, outcome: str, seed: int, number: int, detail: str) -> None:
        self.counts[outcome] += 1
        if outcome not in ("read", "refused"):
            self.failures.append((outcome, seed, number, detail))


def mutant(data: bytes, rng: random.Random, suffix: str) -> bytes:
    """A damaged copy: by structure where the file has one that we can open, else by bytes and by the numbers in its text."""
    if rng.random() < 0.5:
        opened = {".json": _json, ".geojson": _json, ".gz": _gzip, ".npz": _zip, ".png": _png}.get(suffix)
        if opened is not None:
            return opened(data, rng)
    return _bytes(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        near_head = rng.random() < 0.6
        at = rng.randrange(max(1, min(len(out), 1024) if near_head else len(out)))
        kind = rng.randrange(8)
        if kind == 0:
            out[at : at + 1] = bytes([rng.randrange(256) if rng.random() < 0.5 else rng.randrange(32, 127)])
        elif kind == 1:
            edit = rng.choice(BYTES)
            out[at : at + len(edit)] = edit
        elif kind == 2:
            del out[at : at + rng.randint(1, 64)]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randint(1, 256)]
        elif kind == 4 and rng.random() < 0.4:
            del out[at:]
        elif kind == 5 and rng.random() < 0.5:
            out[at : at + 4] = rng.randbytes(4)
        else:
            out = bytearray(_number(bytes(out), rng))
    return bytes(out)


def _number(data: bytes, rng: random.Random) -> bytes:
    """Another number (or no number) in place of one of the numbers of the first 4 kB, as far as they are text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:4096]))
    if not found:
        return data
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(NUMBERS).encode() + data[place.end() :]


def _gzip(data: bytes, rng: random.Random) -> bytes:
    return gzip.compress(_bytes(gzip.decompress(data), rng), 1)


def _zip(data: bytes, rng: random.Random) -> bytes:
    """One member of the archive is damaged; the archive itself is whole."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, _bytes(content, rng) if name == chosen else content)
    return out.getvalue()


def _png(data: bytes, rng: random.Random) -> bytes:
    """One chunk is damaged and its checksum made to fit, so that the damage is not found by the checksum alone."""
    out, at = bytearray(data[:8]), 8
    chunks = []
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    chosen = rng.randrange(len(chunks))
    for index, (name, content) in enumerate(chunks):
        body = name + (_bytes(content, rng) if index == chosen else content)
        out += (len(body) - 4).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)
    return bytes(out)


def _json(data: bytes, rng: random.Random) -> bytes:
    root = {"": json.loads(data)}
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(list(_places(root)))
        kind = rng.randrange(6)
        if kind == 0 and holder is not root:
            del holder[key]
        elif kind == 1 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    text = json.dumps(root[""])
    if rng.random() < 0.03:
        text = '{"a":' * DEEP + text + "}" * DEEP if rng.random() < 0.5 else "[" * DEEP + text + "]" * DEEP
    return text.encode()


def _places(value: dict[str, object] | list[object]) -> Iterator[tuple[dict[str, object] | list[object], object]]:
    for key, below in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(below, dict | list):
            yield from _places(below)


def write_mutant(files: list[Path], originals: list[bytes], seed: int, number: int) -> None:
    """Put mutant `number` in place: one of the files is damaged, the others are whole."""
    rng = random.Random(f"{seed}-{number}")
    chosen = rng.randrange(len(files))
    for index, (path, data) in enumerate(zip(files, originals, strict=True)):
        path.write_bytes(mutant(data, rng, path.suffix.lower()) if index == chosen else data)


def attempt(family: Family, path: Path) -> tuple[str, str]:
    """The outcome of one read ("read", "refused", "memory", "traceback") and, for a failure, its last lines."""
    try:
        family.read(path)
    except MedsamError as error:
        line = str(error)
        return ("traceback", f"a message of two lines: {line!r}") if "\n" in line.strip() else ("refused", line)
    except MemoryError:
        return "memory", traceback.format_exc(limit=-2)[-400:]
    except BaseException:  # noqa: BLE001 - a SystemExit or a panic of a library is a failure too
        return "traceback", traceback.format_exc(limit=-2)[-600:]
    return "read", ""


def _child(family: Family, numbers: range, seed: int, folder: Path, line: Connection) -> None:
    """Read mutants one by one; the parent kills what takes too long, and starts behind it again."""
    os.environ["OMP_NUM_THREADS"] = "1"
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)  # C libraries say their part there
    try:
        files = family.make(folder)
        originals = [path.read_bytes() for path in files]
        family.read(files[0])  # a good file is read, and every import is done before memory is bounded
    except BaseException:  # noqa: BLE001
        line.send((-1, "broken", traceback.format_exc(limit=-3)[-900:]))
        return
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in numbers:
        line.send((number, "begun", ""))
        write_mutant(files, originals, seed, number)
        line.send((number, *attempt(family, files[0])))
    line.send((-1, "done", ""))


def run(family: Family, count: int, seed: int, *, start_method: str = "spawn") -> Tally:
    """Read `count` mutants of a family in a child; a hang or a death of the child costs one mutant and is counted."""
    tally = Tally()
    context = multiprocessing.get_context(start_method)
    at, end = 0, count
    while at < end:
        with tempfile.TemporaryDirectory(prefix="medsam-fuzz-") as folder:
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(
                target=_child, args=(family, range(at, end), seed, Path(folder), sender), daemon=True
            )
            child.start()
            sender.close()
            at = _follow(receiver, at, end, seed, tally)
            child.kill()
            child.join()
    return tally


def _follow(line: Connection, at: int, end: int, seed: int, tally: Tally) -> int:
    """Count what the child says until it is done, dead or late; the number to go on with."""
    begun = False
    while True:
        try:
            if not line.poll(SECONDS if begun else 120):
                tally.add("hang", seed, at, f"over {SECONDS} s")
                return at + 1
            number, outcome, detail = line.recv()
        except EOFError:
            tally.add("crash", seed, at, "the process died")
            return at + 1
        if outcome == "done":
            return end
        if outcome == "broken":
            tally.add("broken", seed, at, detail)
            return end
        begun, at = outcome == "begun", number
        if not begun:
            tally.add(outcome, seed, number, detail)
            at = number + 1


def in_child(task: Callable[[], str]) -> str:
    """What a function answers in a process of its own, whose limits it may lower."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(task)
