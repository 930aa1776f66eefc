"""Reading an untrusted file for the first time in a process of its own, which may take so much memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from medsam import errors
from medsam.errors import InputFileError, MedsamError
from medsam.io.formats import read_image, read_mask

REFUSED = 3


def check_confined(path: Path, *, mask: bool = False, memory_bytes: int, seconds: float) -> None:
    """Read a file in a child process and throw the result away, so that a hostile one can harm nothing but that process.

    Args:
        path: An image, or with `mask` a mask that carries its own grid.
        mask: Read it as a mask.
        memory_bytes: Of address space beyond what Python and its libraries take.
        seconds: After which the child is ended.

    Raises:
        MedsamError: what the reader said.
        InputFileError: the reader was killed, or took too long.
    """
    words = [sys.executable, "-m", "medsam.io.confined", "mask" if mask else "image", str(path), str(memory_bytes)]
    try:
        done = subprocess.run(words, capture_output=True, timeout=seconds, check=False)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired:
        raise InputFileError(
            f"{path.name} takes longer than {seconds:.0f} s to read", expected="an honest file", fix="export it again"
        ) from None
    if done.returncode == 0:
        return
    if done.returncode == REFUSED:
        raise _told(done.stdout)
    raise InputFileError(
        f"{path.name} ends the process that reads it", expected="an honest file", fix="export it again, or crop it"
    )


def _told(line: bytes) -> MedsamError:
    told = json.loads(line)
    kind = getattr(errors, told["error"], InputFileError)
    error: MedsamError = kind(told["got"], expected=told["expected"], fix=told["fix"])
    return error


def _limit(memory_bytes: int) -> None:
    """Bound the address space; Windows has no such limit, and there the time alone is bounded."""
    if sys.platform == "win32":
        return
    import resource

    taken = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    )
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, taken + memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _main(kind: str, path: Path, memory_bytes: int) -> int:
    _limit(memory_bytes)
    try:
        if kind == "mask":
            read_mask(path)
        else:
            read_image(path)
    except MedsamError as error:
        got = error.got.replace(str(path), path.name)
        told = {"error": type(error).__name__, "got": got, "expected": error.expected, "fix": error.fix}
        sys.stdout.write(json.dumps(told))
        return REFUSED
    except MemoryError:
        told = {"error": "InputFileError", "got": f"{path.name} needs more memory than a file may take"}
        sys.stdout.write(json.dumps(told | {"expected": "a smaller file", "fix": "crop or split it"}))
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
