"""One process at a time in a folder."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from medsam.errors import OutputError
from medsam.files.lock import LOCK, hold_folder

HOLDER = """
import sys, time
from pathlib import Path
from medsam.files.lock import hold_folder
with hold_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start_holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = start_holder(tmp_path, 60)
    with pytest.raises(OutputError, match="another run writes to"), hold_folder(tmp_path):
        pass
    with hold_folder(tmp_path, name=".other.lock"):  # another name is another lock
        pass
    holder.kill()
    holder.communicate()
    with hold_folder(tmp_path):
        assert (tmp_path / LOCK).is_file()


def test_a_second_process_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    holder = start_holder(tmp_path, 2)
    start = time.monotonic()
    with hold_folder(tmp_path, wait=60):
        assert time.monotonic() - start > 0.1
    holder.communicate()


def test_a_folder_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), hold_folder(tmp_path / "none"):
        pass
