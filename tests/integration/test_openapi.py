"""A small walk over the OpenAPI document and over the routes of other viewers; benchmarks/openapi.py does 2,000 examples."""

from __future__ import annotations

from pathlib import Path

import pytest
from openapi_walk import walk
from server_process import ServerProcess
from viewer_requests import viewers_document

pytestmark = pytest.mark.integration


def test_no_request_that_the_document_allows_is_a_fault(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    found = walk(server, examples=80)
    others = walk(server, examples=80, document=viewers_document())
    assert server.stop() in (0, -15)
    assert found.faults == others.faults == []
    assert found.operations > 25 and found.statuses.total() >= 80 and found.statuses[200] > 10
    assert others.operations > 40 and others.statuses.total() >= 80 and others.statuses[200] > 10
    log = server.log.read_text()
    assert "Traceback" not in log and server.token not in log
