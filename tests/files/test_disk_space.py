"""A run is refused before its first step where the disk has no room for all that it writes."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from medsam.errors import OutputError
from medsam.files.disk_space import Need, check_room


def free(monkeypatch: pytest.MonkeyPatch, size: int, total: int = 10**12) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=total, used=0, free=size))


def test_what_goes_to_one_disk_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = [Need(tmp_path / "run", 3_000_000, "weights"), Need(tmp_path / "not/there/yet", 4_000_000, "features")]
    free(monkeypatch, 7_000_000)
    check_room(needs)
    free(monkeypatch, 6_900_000)
    with pytest.raises(OutputError, match=r"has 7 MB free; expected 3 MB for weights and 4 MB for features; .*folder"):
        check_room(needs)
    free(monkeypatch, 0, total=0)  # a disk that does not say how large it is
    check_room(needs)
