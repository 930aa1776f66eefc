"""Requests to a real server by schemathesis, from its OpenAPI document and then as other viewers send them: none may be a
fault. Prints JSON, a line for each of the two.

python benchmarks/openapi.py --examples 2000
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))

from openapi_walk import walk
from server_process import ServerProcess
from viewer_requests import viewers_document


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = ServerProcess(Path(name))
        for what, document in (("api", None), ("viewers", viewers_document())):
            found = walk(server, asked.examples, document)
            told = {"what": what, "operations": found.operations, "answered_2xx": len(found.good)}
            told |= {"requests": found.statuses.total(), "faults": found.faults[:50]}
            print(json.dumps(told | {"statuses": dict(sorted(found.statuses.items()))}), flush=True)
        server.stop()


if __name__ == "__main__":
    main()
