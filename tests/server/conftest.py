"""A served project for the tests of the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import serve


@pytest.fixture
def served(tmp_path: Path):
    with serve(tmp_path) as one:
        yield one
