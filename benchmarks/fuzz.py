"""Mutants of good files over every family of readers, in children of bounded memory; prints JSON: outcomes of each family.

    python benchmarks/fuzz.py --mutants 20000
    python benchmarks/fuzz.py --mutants 500 --family npz --keep /tmp/failures
    python benchmarks/fuzz.py --family npz --seed 7 --replay 123 --keep /tmp/one

read and refused are right; traceback, memory, hang, crash and broken (the good file is not read) are failures. The
families lie in tests/support/fuzz_families.py.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))

from fuzz_families import FAMILIES
from fuzzing import MEMORY, SECONDS, Family, Tally, run, write_mutant


def keep(family: Family, seed: int, number: int, what: str, folder: Path) -> Path:
    """Write the mutant of a failure again, with the files that belong to it, into a folder of its own."""
    target = folder / f"{family.name}-{what}-{seed}-{number}"
    target.mkdir(parents=True, exist_ok=True)
    files = family.make(target)
    write_mutant(files, [path.read_bytes() for path in files], seed, number)
    return files[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2900, help="over all families together")
    parser.add_argument("--family", action="append", choices=sorted(FAMILIES), help="only these")
    parser.add_argument("--seed", type=int, default=None, help="fresh without it")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=None, help="folder for the mutants that failed")
    parser.add_argument("--replay", type=int, default=None, help="write only this mutant of the one family into --keep")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    families = [FAMILIES[name] for name in options.family or FAMILIES]
    if options.replay is not None:
        folder = options.keep or Path(tempfile.mkdtemp(prefix="medsam-fuzz-"))
        print(keep(families[0], seed, options.replay, "mutant", folder))
        return 0
    start = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        each = max(1, options.mutants // len(families))
        tallies: list[Tally] = list(pool.map(lambda family: run(family, each, seed), families))
    failures = [(f, *failure) for f, t in zip(families, tallies, strict=True) for failure in t.failures]
    if options.keep is not None:
        for family, what, _, number, _ in failures:
            keep(family, seed, number, what, options.keep)
    rows = {f.name: dict(sorted(t.counts.items())) for f, t in zip(families, tallies, strict=True)}
    total = sum((t.counts for t in tallies[1:]), start=tallies[0].counts.copy())
    print(
        json.dumps(
            {
                "benchmark": "fuzz", "seed": seed, "mutants": total.total(), "seconds": round(time.perf_counter() - start, 1),
                "limits": {"seconds": SECONDS, "bytes": MEMORY}, "total": dict(sorted(total.items())), "families": rows,
                "failures": [
                    {"family": f.name, "outcome": what, "mutant": number, "detail": detail.strip().splitlines()[-3:]}
                    for f, what, _, number, detail in failures[:60]
                ],
            },
            indent=1,
        )
    )  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
