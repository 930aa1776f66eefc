"""Kill a server while annotations are saved, and let many write at once, on SQLite and PostgreSQL. Prints JSON.

`python benchmarks/durability.py --kills 50 --writers 8 --saves 500`; PostgreSQL is Debian's, and is left out without it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from postgres import run_postgres

from durability import kill_while_saving, write_at_once


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--saves", type=int, default=500)
    asked = parser.parse_args()
    there = any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    with tempfile.TemporaryDirectory() as name, run_postgres() if there else nullcontext() as postgres:
        for what in ("writers", "kills"):
            for kind in ("sqlite", "postgresql") if postgres else ("sqlite",):
                address = postgres.new_database() if postgres and kind == "postgresql" else None
                place = Path(name) / f"{what}-{kind}"
                if what == "kills":
                    found = kill_while_saving(place, asked.kills, address)
                else:
                    found = write_at_once(place, asked.writers, asked.saves, address)
                print(json.dumps({"what": what, "database": kind, **asdict(found)}), flush=True)


if __name__ == "__main__":
    main()
