"""What a training process keeps of the memory it frees, told by the pages the system maps for it."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = 32 * 2**20 // resource.getpagesize()
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
SCRIPT = """
import json, resource
from pathlib import Path
from contextlib import nullcontext
import torch
from medsam.training.config import TrainConfig
from medsam.training.run.allocator import keep_freed_memory

def pages(mib=32):
    "The fewest pages that one of eight tensors takes from the system, each freed before the next."
    taken = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(mib * 2**18)
        taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(taken)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

cpu, plain = torch.device("cpu"), TrainConfig(data=("store",))
short = TrainConfig(data=("store",), checkpoint_activations=True)
found = {}
for name, context in (("before", nullcontext()), ("short", keep_freed_memory(cpu, short))):
    with context:
        found[name] = pages()
with keep_freed_memory(cpu, plain):
    found["kept"] = pages()
    torch.ones(64 * 2**20)
    inside = resident()
found["given_back_mib"] = inside - resident()
found["after"] = pages(2)
print(json.dumps(found))
"""


@pytest.mark.skipif(HUGE.is_file() and "[always]" in HUGE.read_text(), reason="huge pages hide what is counted")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does with freed memory")
def test_a_step_gets_the_memory_of_the_one_before_and_a_run_gives_it_back() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["before"] > PAGES / 2
    assert found["short"] > PAGES / 2
    assert found["kept"] < PAGES / 10
    assert found["given_back_mib"] > 200
    assert found["after"] < PAGES / 100, "small tensors are kept again, as before the run"
