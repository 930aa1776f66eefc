"""How a training process on a CPU handles the memory it frees."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from medsam.training.config import TrainConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # malloc.h
KEEP = {M_TRIM_THRESHOLD: -1, M_MMAP_MAX: 0}  # -1: never
# Whoever sets a threshold ends glibc's own adaptation, so what it adapts to with large tensors is what stays.
AFTERWARDS = {M_TRIM_THRESHOLD: 64 * 2**20, M_MMAP_THRESHOLD: 32 * 2**20, M_MMAP_MAX: 65_536}


@contextmanager
def keep_freed_memory(device: torch.device, config: TrainConfig) -> Iterator[None]:
    """Within, a process on a CPU keeps what it frees for its next step instead of giving it back to the system.

    Every step asks for the same large tensors again, and with glibc the system maps and clears each page of them anew:
    up to half of a step (benchmarks/train_step.py). The price is a higher peak where freed pieces do not fit what comes
    next, so a run with checkpoint_activations, which is short of memory, gives it back. Elsewhere nothing changes:
    CUDA has a cache of its own.
    """
    if device.type != "cpu" or config.checkpoint_activations or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for name, value in KEEP.items():
        libc.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in AFTERWARDS.items():
            libc.mallopt(name, value)
        libc.malloc_trim(0)
