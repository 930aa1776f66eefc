"""Requests from the OpenAPI document to a real server, by schemathesis: none may be a fault. Prints JSON.

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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=2000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        server = ServerProcess(Path(name))
        found = walk(server, asked.examples)
        server.stop()
    told = {"operations": found.operations, "requests": found.statuses.total(), "faults": found.faults[:50]}
    print(json.dumps(told | {"statuses": dict(sorted(found.statuses.items()))}))


if __name__ == "__main__":
    main()
