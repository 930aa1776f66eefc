"""The processes of a run, as torchrun starts them, and how a model is spread over them; without torchrun it is one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from medsam.errors import DataError, MedsamError
from medsam.inference.runtimes.torch import choose_device

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

    def gather(self, value: T) -> list[T]:
        """What every process has, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def agree(self, task: Callable[[], T]) -> T:
        """Do a task on the first process; all get its answer.

        Raises:
            MedsamError: as the task did, on all of them.
        """
        answer: T | MedsamError | None = None
        if self.first:
            try:
                answer = task()
            except MedsamError as error:
                answer = error
        told = self.gather(answer)[0]
        if isinstance(told, MedsamError):
            raise told
        return told  # type: ignore[return-value] # what the first one has is no None of the others

    def wait(self) -> None:
        """Until all have come here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_processes(device: str | None, global_batch: int) -> Iterator[Processes]:
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


def spread_model(
    objective: nn.Module, blocks: list[nn.Module], parallel: Literal["ddp", "fsdp"], on: Processes
) -> nn.Module:
    """The module whose forward and backward passes work on all processes; a lone process has the objective itself.

    Args:
        objective: On the device; its parameters are the same everywhere.
        blocks: Parts that "fsdp" gathers one by one, so that no more than one is whole at a time.
        parallel: "ddp" keeps everything on every process, "fsdp" divides weights, gradients and optimizer among them.
        on: The processes.
    """
    if on.world == 1:
        return objective
    if parallel == "fsdp":
        # blocks give views of what they computed, and nothing here writes into them
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
        mesh = init_device_mesh(on.device.type, (on.world,))
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(objective, mesh=mesh)
        return objective
    return DistributedDataParallel(objective, device_ids=[on.device] if on.device.type == "cuda" else None)


def is_divided(module: nn.Module) -> bool:
    """Whether every process has a part of the weights only, so that all must run as many passes."""
    return isinstance(module, FSDPModule)


def skip_exchange(module: nn.Module) -> AbstractContextManager[object]:
    """Within, gradients add up on this process alone; divided ones always are exchanged, which is what saves memory."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def gather_tensor(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be divided; all processes call it in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def divide_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor divided as another one is; all processes call it in the same order with the same values."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
    return tensor
