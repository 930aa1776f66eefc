"""What a training process keeps of the memory it frees, told by the pages the system maps for it."""

from __future__ import annotations

import platform
import resource
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))
from tiny import CONFIG

from medsam.training.memory import freed_memory_kept

PAGES = 32 * 2**20 // 4096
pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does with freed memory")


def pages_mapped_for_a_tensor() -> int:
    """The fewest pages that one of eight tensors of 32 MiB takes from the system, each freed before the next."""
    pages = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(8 * 2**20)
        pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(pages)


def test_a_step_gets_the_memory_of_the_one_before() -> None:
    with freed_memory_kept(torch.device("cpu"), CONFIG):
        assert pages_mapped_for_a_tensor() < PAGES / 10


def test_memory_is_given_back_after_a_run_and_where_it_is_short() -> None:
    with freed_memory_kept(torch.device("cpu"), CONFIG):
        torch.ones(8 * 2**20)
    assert pages_mapped_for_a_tensor() > PAGES / 2
    with freed_memory_kept(torch.device("cpu"), replace(CONFIG, checkpoint_activations=True)):
        assert pages_mapped_for_a_tensor() > PAGES / 2
