"""The samples of a specialist: units of one modality or task, and batches of picture, box and expert mask.

Shapes: B images, C channels, h rows and w columns of the network's input.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medsam.baselines.box_channel import BoxChannelInput
from medsam.errors import DataError
from medsam.evaluation.targets import simulate_boxes
from medsam.imaging.modality import parse_modality
from medsam.training.samples.augmentation import STRENGTHS, augment
from medsam.training.samples.dataset import Order
from medsam.training.samples.recipe_data import open_data
from medsam.training.samples.sources import SampleSource, TrainingSlice, Unit, hash_rows
from medsam.training.specialist.config import SpecialistConfig

LOOKED_AT = 200  # pictures from which the median shape is taken


class SelectedSource:
    """The units of a source that belong to a modality and a data set.

    Args:
        source: Of all units.
        modality: A name or code; "" takes all.
        dataset: Its name; "" takes all.

    Raises:
        DataError: no unit is of both.
        IntensityError: nobody calls a modality that.
    """

    def __init__(self, source: SampleSource, modality: str, dataset: str) -> None:
        self.source = source
        wanted = parse_modality(modality).value if modality else ""
        units = [source.unit(number) for number in range(len(source))]
        self.numbers = [
            number
            for number, unit in enumerate(units)
            if wanted in ("", unit.modality) and dataset in ("", unit.dataset)
        ]
        if not self.numbers:
            there = sorted({f"{unit.modality} of {unit.dataset}" for unit in units})
            raise DataError(
                f"no sample of {' '.join(one for one in (wanted, dataset) if one)}",
                expected=f"one of {', '.join(there[:10])}",
                fix="correct --modality or --dataset",
            )

    def __len__(self) -> int:
        """How many units."""
        return len(self.numbers)

    @property
    def pictures(self) -> int:
        """At most as many as in the whole source."""
        return min(len(self), self.source.pictures)

    def identity(self) -> str:
        """Of the source and the choice."""
        return hash_rows([[self.source.identity()], [str(number) for number in self.numbers]])

    def unit(self, number: int) -> Unit:
        """What unit `number` is."""
        return self.source.unit(self.numbers[number])

    def read(self, number: int) -> TrainingSlice:
        """Pixels and targets of unit `number`."""
        return self.source.read(self.numbers[number])


def open_samples(config: SpecialistConfig) -> SelectedSource:
    """Open the samples that a specialist learns from.

    Raises:
        DataError: a path is no data, or nothing is of the modality and task asked for.
    """
    source = open_data(config.data, config.split, by_picture=False, target=config.target)
    return SelectedSource(source, config.modality, config.dataset)


def measure_median_shape(source: SampleSource) -> tuple[int, int]:
    """Give the median rows and columns of up to 200 evenly chosen pictures."""
    numbers = np.unique(np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).astype(int)).tolist()
    rows, columns = np.median([source.read(number).pixels_HW3.shape[:2] for number in numbers], axis=0)
    return int(rows), int(columns)


class BoxBatches:
    """Batches by the number of the step; every random choice comes from the seed and the number of the draw alone.

    Args:
        source: Of the units.
        config: Of the run.
        frame: How pictures and boxes enter the network.
        batch_size: Images of a step.
    """

    def __init__(self, source: SampleSource, config: SpecialistConfig, frame: BoxChannelInput, batch_size: int) -> None:
        self.source = source
        self.config = config
        self.frame = frame
        self.batch_size = batch_size
        self._order = Order(len(source), config.seed)

    def draw(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Make the sample of a draw: picture with box (4, h, w), and the mask of one of its targets (1, h, w)."""
        rng = np.random.default_rng([self.config.seed, 2, number])
        slice_ = self.source.read(self._order.unit(number))
        chosen = slice_.masks[int(rng.integers(len(slice_.masks)))]
        one = TrainingSlice(slice_.pixels_HW3, [chosen])
        if self.config.augmentation != "none":
            one = augment(one, STRENGTHS[self.config.augmentation], rng.spawn(1)[0])
        boxes_14 = simulate_boxes(one.masks, self.config.noise, rng)
        box_1hw = self.frame.boxes_to_network(boxes_14, *one.pixels_HW3.shape[:2])
        image_3hw = self.frame.image_to_network(one.pixels_HW3)
        return np.concatenate([image_3hw, box_1hw]), self.frame.mask_to_network(one.masks[0])[None]

    def load(self, steps: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the batches of steps in their order, each read while the one before is learnt from."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None
            for step in [*steps, None]:
                ready = ahead
                ahead = None if step is None else pool.map(self.draw, self._draws_of(step))
                if ready is not None:
                    inputs, masks = zip(*ready, strict=True)
                    yield torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(masks))

    def _draws_of(self, step: int) -> range:
        return range(step * self.batch_size, (step + 1) * self.batch_size)
