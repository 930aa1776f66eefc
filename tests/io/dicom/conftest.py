"""An archive on loopback whose answers a test exchanges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hostile_pacs import GOOD, HostilePacs, serve


@pytest.fixture
def pacs() -> Iterator[HostilePacs]:
    with serve(HostilePacs(GOOD)) as server:
        yield server
