"""From units to model input: which sample comes when, with which box, in the same frame that serving uses.

Shapes: B images, T targets of all images, S side of the model frame, H rows, W columns, C channels.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing.synchronize import Event
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medsam.errors import MedsamError
from medsam.evaluation.targets import simulate_boxes
from medsam.models.weights.manifest import Manifest
from medsam.training.config import TrainConfig
from medsam.training.samples.augmentation import STRENGTHS, augment
from medsam.training.samples.prompting import TargetPrompts, join_prompts, simulate_prompts
from medsam.training.samples.sources import SampleSource, TrainingSlice

PR_SET_PDEATHSIG = 1  # linux/prctl.h
VIEWS = 6  # begins the seed of what changes a kept view


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of a step with their prompts and expert masks, in the model frame.

    Args:
        names: Of the B units.
        image_B3SS: float32, what the image encoder takes.
        boxes_T4: float32, x0 y0 x1 y1 in model pixels.
        masks_TSS: uint8, 0 or 1.
        counts: Targets of each image; they sum to T.
        inner: Rows and columns of the frame that each image fills.
        slices: The pictures themselves, for those who embed them by cache.
        prompts: What targets are shown instead of their boxes, or with them; None is boxes alone.
    """

    names: tuple[str, ...]
    image_B3SS: Tensor
    boxes_T4: Tensor
    masks_TSS: Tensor
    counts: tuple[int, ...]
    inner: tuple[tuple[int, int], ...]
    slices: tuple[NDArray[np.uint8], ...]
    prompts: TargetPrompts | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return replace(
            self,
            image_B3SS=self.image_B3SS.to(device),
            boxes_T4=self.boxes_T4.to(device),
            masks_TSS=self.masks_TSS.to(device),
            prompts=None if self.prompts is None else self.prompts.to(device),
        )


def make_sample(
    slice_: TrainingSlice, name: str, manifest: Manifest, config: TrainConfig, rng: np.random.Generator
) -> Batch:
    """Prepare one image: choose targets, simulate their boxes, lay all of it into the model frame.

    Source: paper, Methods, "Training protocol" (box prompt simulated from the expert annotation).
    """
    wanted = min(config.prompts_per_image, len(slice_.masks))
    chosen = [slice_.masks[i] for i in sorted(rng.choice(len(slice_.masks), wanted, replace=False).tolist())]
    slice_ = TrainingSlice(slice_.pixels_HW3, chosen)
    if config.augmentation != "none" and not config.views:
        slice_ = augment(slice_, STRENGTHS[config.augmentation], rng.spawn(1)[0])
    height, width = slice_.pixels_HW3.shape[:2]
    frame = manifest.make_frame(height, width)
    boxes_T4 = simulate_boxes(slice_.masks, config.noise, rng)
    return Batch(
        names=(name,),
        image_B3SS=torch.from_numpy(frame.image_to_model(slice_.pixels_HW3)[None]),
        boxes_T4=torch.from_numpy(frame.boxes_to_model(boxes_T4)),
        masks_TSS=torch.from_numpy(np.stack([frame.mask_to_model(mask) for mask in slice_.masks])),
        counts=(len(slice_.masks),),
        inner=(frame.inner_hw,),
        slices=(slice_.pixels_HW3,) if config.cache_embeddings or config.student else (),
        prompts=None if config.prompts == ("box",) else simulate_prompts(slice_.masks, frame, config, rng),
    )


def join_batches(samples: Sequence[Batch]) -> Batch:
    """Join batches into one."""
    prompts = [one.prompts for one in samples if one.prompts is not None]
    return Batch(
        names=tuple(name for one in samples for name in one.names),
        image_B3SS=torch.cat([one.image_B3SS for one in samples]),
        boxes_T4=torch.cat([one.boxes_T4 for one in samples]),
        masks_TSS=torch.cat([one.masks_TSS for one in samples]),
        counts=tuple(count for one in samples for count in one.counts),
        inner=tuple(inner for one in samples for inner in one.inner),
        slices=tuple(picture for one in samples for picture in one.slices),
        prompts=join_prompts(prompts) if prompts else None,
    )


class Order:
    """Which unit is drawn when: a new permutation every epoch, all of them laid end to end.

    Draw number d is position d % size of epoch d // size, so a run's place in its data is one number, and a step takes
    the same global_batch draws on any number of processes.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self._permutation = lru_cache(maxsize=2)(self._make)

    def _make(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 1, epoch]).permutation(self.size)

    def unit(self, draw: int) -> int:
        """Number of the unit of a draw."""
        epoch, position = divmod(draw, self.size)
        return int(self._permutation(epoch)[position])

    def different(self, draws: int) -> int:
        """How many units are among the first draws."""
        return min(self.size, draws)

    def __getstate__(self) -> tuple[int, int]:
        """Two numbers are enough."""
        return self.size, self.seed

    def __setstate__(self, state: tuple[int, int]) -> None:
        """As made."""
        Order.__init__(self, *state)


class BalancedOrder:
    """Every group is drawn equally often, its units in new permutations laid end to end, whatever their number.

    Draw number d belongs to round d // groups; a round draws from every group once, in a new permutation of them.
    """

    def __init__(self, groups: Sequence[NDArray[np.int64]], seed: int) -> None:
        self.groups = list(groups)
        self.seed = seed
        self._permutation = lru_cache(maxsize=2 * len(self.groups))(self._make)
        self._turns = lru_cache(maxsize=2)(self._make_turns)

    def _make(self, group: int, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 4, group, epoch]).permutation(self.groups[group])

    def _make_turns(self, round_: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 5, round_]).permutation(len(self.groups))

    def unit(self, draw: int) -> int:
        """Number of the unit of a draw."""
        round_, turn = divmod(draw, len(self.groups))
        group = int(self._turns(round_)[turn])
        epoch, position = divmod(round_, len(self.groups[group]))
        return int(self._permutation(group, epoch)[position])

    def different(self, draws: int) -> int:
        """How many units are among the first draws, at most: the last round may be cut."""
        rounds = -(-draws // len(self.groups))
        return sum(min(len(group), rounds) for group in self.groups)

    def __getstate__(self) -> tuple[list[NDArray[np.int64]], int]:
        """Without what can be made again."""
        return self.groups, self.seed

    def __setstate__(self, state: tuple[list[NDArray[np.int64]], int]) -> None:
        """As made."""
        BalancedOrder.__init__(self, *state)


def choose_order(source: SampleSource, config: TrainConfig) -> Order | BalancedOrder:
    """In which order a run draws the units of its data."""
    if config.balance == "none":
        return Order(len(source), config.seed)
    groups: dict[str, list[int]] = {}
    for number in range(len(source)):
        unit = source.unit(number)
        groups.setdefault(unit.modality if config.balance == "modality" else unit.dataset, []).append(number)
    return BalancedOrder([np.array(groups[name], dtype=np.int64) for name in sorted(groups)], config.seed)


class Draws(Dataset[Batch]):
    """Samples by draw number; every random choice of a draw comes from the seed and that number alone."""

    def __init__(self, source: SampleSource, manifest: Manifest, config: TrainConfig) -> None:
        self.source = source
        self.manifest = manifest
        self.config = config
        self.order = choose_order(source, config)

    def __getitem__(self, draw: int) -> Batch:
        """The sample of a draw, as a batch of one image."""
        number = self.order.unit(draw)
        rng = np.random.default_rng([self.config.seed, 2, draw])
        slice_, name = self.source.read(number), self.source.unit(number).name
        if self.config.views and (view := int(rng.integers(self.config.views))):
            # the same in every run of whatever seed, so that its features are computed once
            fixed = np.random.default_rng([VIEWS, view, *name.encode()])
            slice_ = augment(slice_, STRENGTHS[self.config.augmentation], fixed)
        return make_sample(slice_, name, self.manifest, self.config, rng)


def count_steps(units: int, config: TrainConfig) -> int:
    """Count the steps of a run: the last one is filled up from the epoch that would follow."""
    return config.steps or -(-units * config.epochs // config.global_batch)


def list_draws(step: int, config: TrainConfig, rank: int, world: int) -> list[list[int]]:
    """List the draw numbers of one process in one step, in micro-batches; all processes together draw the global batch."""
    first = step * config.global_batch
    draws = list(range(first + rank, first + config.global_batch, world))
    return [draws[i : i + config.micro_batch] for i in range(0, len(draws), config.micro_batch)]


def load_batches(draws: Draws, steps: range, *, rank: int, world: int) -> Generator[Batch]:
    """Load the micro-batches of one process over a range of steps, loaded ahead by config.workers processes.

    Close it when done with: its workers heed no signal before.

    Raises:
        MedsamError: a sample cannot be read.
    """
    config = draws.config
    order = (part for step in steps for part in list_draws(step, config, rank, world))
    over = multiprocessing.Event()
    loader: DataLoader[Batch | MedsamError] = DataLoader(
        _Caught(draws),
        batch_sampler=_Once(order),
        collate_fn=_join_or_first_error,
        num_workers=config.workers,
        pin_memory=False,
        prefetch_factor=4 if config.workers else None,
        worker_init_fn=partial(_heed_only, over),
    )
    batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, MedsamError):
                raise batch
            yield batch
    finally:
        over.set()
        del batches


def _heed_only(over: Event, worker: int) -> None:
    """In a loader process: leave when the run says so or is gone, not at a signal sent to the whole group.

    torchrun, Slurm and terminals tell all processes to end; the run needs its loaders to finish the step and save.
    """
    del worker

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        if over.is_set():
            os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class _Caught(Dataset["Batch | MedsamError"]):
    """Samples, or the error why there is none: raised in a loader process it would come as a page of text."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws

    def __getitem__(self, draw: int) -> Batch | MedsamError:
        try:
            return self.draws[draw]
        except MedsamError as error:
            return error


def _join_or_first_error(samples: Sequence[Batch | MedsamError]) -> Batch | MedsamError:
    batches = []
    for one in samples:
        if isinstance(one, MedsamError):
            return one
        batches.append(one)
    return join_batches(batches)


class _Once:
    """An iterator as the batch sampler a DataLoader asks for."""

    def __init__(self, batches: Iterator[list[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return self.batches
