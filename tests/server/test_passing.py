"""What is sent and not of the project goes with the server, also where that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medsam.errors import OutputError
from medsam.server.passing import passing_folder

KILLED = """
import os, sys
from pathlib import Path
from medsam.server.passing import passing_folder
with passing_folder(Path(sys.argv[1])) as own:
    (own / "scan.nii.gz").write_bytes(b"of somebody")
    os._exit(9)
"""


def folders(place: Path) -> list[Path]:
    return [one for one in place.iterdir() if one.is_dir()]


def test_what_a_killed_server_left_is_removed_and_what_a_running_one_holds_is_not(tmp_path: Path) -> None:
    place = tmp_path / "study" / "passing"
    assert subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False).returncode == 9
    [left] = folders(place)
    assert (left / "scan.nii.gz").is_file()
    with passing_folder(place) as own:
        (own / "scan.nii.gz").write_bytes(b"of another")
        assert folders(place) == [own]
        with passing_folder(place) as second:
            assert set(folders(place)) == {own, second} and (own / "scan.nii.gz").is_file()
        assert folders(place) == [own]
    assert folders(place) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"), passing_folder(tmp_path / "file" / "passing"):
        pass
