"""Scans for a while: one's own, few of them, ended once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medsam.server.monailabel_sessions import Sessions
from medsam.server.problems import NotFound


def sent(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"scan")
    return path


def test_the_oldest_goes_where_there_are_too_many_and_the_idle_go_too(tmp_path: Path) -> None:
    sessions, files = Sessions(), [sent(tmp_path, str(n)) for n in range(3)]
    first, second, third = (sessions.add(file, "ana", most=2, idle_seconds=600) for file in files)
    assert [file.exists() for file in files] == [False, True, True]
    with pytest.raises(NotFound):
        sessions.find(first, "ana")
    with pytest.raises(NotFound):
        sessions.find(second, "bob")
    assert sessions.find(second, "ana") == files[1] and sessions.find(third, "ana") == files[2]
    sessions.rest(0)
    assert not any(file.exists() for file in files)


def test_many_who_end_a_session_at_once_end_it_once_and_none_fails(tmp_path: Path) -> None:
    sessions = Sessions()

    def end(session: str) -> bool:
        try:
            sessions.drop(session, "ana")
        except NotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for n in range(50):
            session = sessions.add(sent(tmp_path, str(n)), "ana", most=8, idle_seconds=600)
            assert any(pool.map(end, [session] * 8))
    assert not any(file.is_file() for file in tmp_path.iterdir())
