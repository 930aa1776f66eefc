"""The processes of a run, as torchrun starts them; a run without torchrun is one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from medsam.errors import DataError
from medsam.inference.runtime import choose_device

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """Which of how many this one is, and what it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def gathered(self, value: T) -> list[T]:
        """What every process has, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device: str | None, global_batch: int) -> Iterator[Processes]:
    """Join the processes torchrun started: NCCL on CUDA, gloo on CPUs.

    Raises:
        DataError: more processes than images in a step.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world > global_batch:
        raise DataError(
            f"{world} processes for a global batch of {global_batch}",
            expected="at least one image for each process",
            fix="start fewer processes, or raise global_batch",
        )
    chosen = choose_device(device)
    if chosen.type == "cuda" and ":" not in (device or ""):
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(rank, world, chosen)
    finally:
        dist.destroy_process_group()
