"""Damaged files of every family: what is read or refused in words, in bounded time and memory, with fresh damage in each run."""

from __future__ import annotations

import os
import secrets
import sys

import pytest
from fuzz_families import FAMILIES
from fuzzing import run

# MEDSAM_FUZZ_SEED makes the mutants of a failed run again; benchmarks/fuzz.py makes any number of them.
SEED = int(os.environ.get("MEDSAM_FUZZ_SEED", secrets.randbits(32)))
MUTANTS = 12


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded by Linux's limits")
@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_damaged_files_are_read_or_refused_in_words(family):
    tally = run(family, MUTANTS, SEED, start_method="fork")
    assert not tally.failures, f"seed {SEED}: {tally.failures[0]}"
    assert tally.counts.total() == MUTANTS
