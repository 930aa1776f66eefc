"""The models that a study trains: specialists of each modality or task, and models by a recipe of medsam train."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medsam.baselines.nnunet import find_nnunet_model
from medsam.baselines.specialist import read_manifest
from medsam.errors import DataError
from medsam.evaluation.index import read_index
from medsam.evaluation.segmenters import WEIGHTS
from medsam.evaluation.tables import Cell, Table
from medsam.jobs.baseline import (
    BaselineRequest,
    Network,
    NnUNetRequest,
    ScheduleOptions,
    SelectionOptions,
    prepare_nnunet,
    train_baseline,
    train_with_nnunet,
)
from medsam.jobs.study_recipe import StudyModel


@dataclass(frozen=True)
class TrainingShard:
    """One model to be trained.

    Args:
        model: As the recipe has it.
        data: Stores, lists of pairs or folders.
        split: Rows to learn from.
        folder: Of the run.
        modality: Of the samples of a specialist; "" takes all.
        dataset: Of the samples of a specialist; "" takes all.
        target: Of the samples of a specialist: its class id in a folder, its name in a store; "" takes all.
        seed: Of the training.
    """

    model: StudyModel
    data: tuple[str, ...]
    split: str
    folder: Path
    modality: str = ""
    dataset: str = ""
    target: str = ""
    seed: int = 0

    @property
    def is_done(self) -> bool:
        """Whether its weights are there, trained to the end."""
        return (self.folder / WEIGHTS).is_file() or self._nnunet is not None

    @property
    def _nnunet(self) -> Path | None:
        model = find_nnunet_model(self.folder)
        return model if model is not None and (model / "fold_all/checkpoint_final.pth").is_file() else None


def train_in_time(order: tuple[TrainingShard, float]) -> bool:
    """Train a model on a worker; False where the time, in seconds since the epoch, was over before it began."""
    shard, end = order
    return time.time() < end and train_shard(shard)


def train_shard(shard: TrainingShard) -> bool:
    """Train a model, or go on where it was stopped; False where it was stopped again.

    Raises:
        MedsamError: as the training does.
    """
    if shard.is_done:
        return True
    if shard.model.recipe:
        return _train_by_recipe(shard)
    selection = SelectionOptions(None, shard.split, shard.modality, shard.dataset, shard.target)
    model, data = shard.model, [Path(path) for path in shard.data]
    schedule = ScheduleOptions(
        epochs=model.epochs or None, steps_per_epoch=model.steps_per_epoch, batch_size=model.batch_size,
        memory_gb=model.memory_gb, patch_px=model.patch_px, encoder=Path(model.encoder) if model.encoder else None,
        augmentation=model.augmentation or None, seed=shard.seed,
    )  # fmt: skip
    if model.engine == "nnunet":
        request = NnUNetRequest(data, shard.folder, selection=selection, schedule=schedule)
        if not (shard.folder / "nnUNet_raw/Dataset101_medsam/dataset.json").is_file():
            prepare_nnunet(request)
        begun = any(shard.folder.glob("nnUNet_results/*/*/fold_all/checkpoint_latest.pth"))
        train_with_nnunet(replace(request, resume=begun))
        return True
    network: Network = "deeplabv3plus" if model.network == "deeplabv3plus" else "unet"
    named = "-".join(word for word in (model.name, shard.modality or shard.dataset) if word)
    request_own = BaselineRequest(network, data, shard.folder, named, selection, schedule, resume=True)
    return train_baseline(request_own).finished


def _train_by_recipe(shard: TrainingShard) -> bool:
    from medsam.training.config import read_config
    from medsam.training.run.folder import CONFIG
    from medsam.training.train import train_by_recipe

    config = replace(
        read_config(Path(shard.model.recipe)), name=shard.model.name, data=shard.data, train_split=shard.split,
        tune_split="", seed=shard.seed,
    )  # fmt: skip
    return train_by_recipe(config, shard.folder, resume=(shard.folder / CONFIG).is_file()).finished


def list_shards(whole: TrainingShard, modalities: Sequence[str]) -> list[TrainingShard]:
    """List what has to be trained for a model: its one run, or one of each modality in a folder of that name below."""
    if whole.model.recipe:
        return [whole]
    return [replace(whole, folder=whole.folder / modality, modality=modality) for modality in modalities]


def find_class(place: Path, target: str) -> str:
    """Give the class id of a target in a folder, "" where all classes are of that name.

    Raises:
        DataError: no class has that name, or some have.
    """
    names = dict(read_index(place, "train")[0].names)
    found = [label for label, name in names.items() if name == target]
    if len(found) == 1 and len(names) > 1:
        return str(found[0])
    if found and len(found) == len(names):
        return ""
    raise DataError(
        f"{len(found)} classes of {place.name} named {target!r}", expected=f"one of {', '.join(map(str, names.values()))}",
        fix="correct tasks in the recipe",
    )  # fmt: skip


def tabulate_training(shards: Iterable[TrainingShard]) -> Table:
    """Tabulate how long every specialist of our own was trained, and on how much."""
    rows: list[tuple[Cell, ...]] = []
    for shard in shards:
        if (shard.folder / WEIGHTS).is_file() and shard.model.network:
            m = read_manifest(shard.folder / WEIGHTS)
            patch = f"{m.plan.patch_HW[0]} x {m.plan.patch_HW[1]}"
            rows.append(
                (shard.model.name, m.modality or m.dataset, m.target, m.images, patch, m.plan.batch_size, m.epochs, m.steps,
                 round(m.seconds), m.seed)
            )  # fmt: skip
    columns = ("Model", "Modality", "Class", "Pictures", "Input", "Batch", "Epochs", "Steps", "Seconds", "Seed")
    note = "Seconds are of training alone. The paper has 1000 epochs of 250 steps for U-Nets and 500 epochs for DeepLabV3+."
    return Table("training", "Training of the specialists", columns, tuple(rows), note=note)
