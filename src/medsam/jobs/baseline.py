"""The paper's comparators: what there is, and one of them trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medsam.errors import DataError

if TYPE_CHECKING:
    from medsam.progress import StepProgress
    from medsam.training.run.state import RunOutcome

Network = Literal["unet", "deeplabv3plus"]


@dataclass(frozen=True)
class BaselineLine:
    """A comparator in a line.

    Args:
        name: As --models or baseline train takes it.
        what: In words.
        paper_epochs: Of its training in the paper; None where it is not trained.
        obtain: The command that gives it.
    """

    name: str
    what: str
    paper_epochs: int | None
    obtain: str


@dataclass(frozen=True)
class SelectionOptions:
    """Which samples a specialist is for.

    Args:
        store: Training store; folders may be named beside it.
        split: Rows of the data to take.
        modality: CT, MR, ultrasound, ...; all without it.
        dataset: Name of a data set; all without it.
        target: What to find: its name in a store, its class id in a folder; everything without it.
    """

    store: Path | None = None
    split: str = "train"
    modality: str = ""
    dataset: str = ""
    target: str = ""

    def list_data(self, folders: Sequence[Path]) -> tuple[str, ...]:
        """List the paths that are read.

        Raises:
            DataError: none.
        """
        data = tuple(str(path) for path in [*folders, *([] if self.store is None else [self.store])])
        if not data:
            raise DataError(
                "no data", expected="folders with index.csv, or a store", fix="name folders or pass --store"
            )
        return data


@dataclass(frozen=True)
class ScheduleOptions:
    """How long and on what a specialist learns.

    Args:
        epochs: The paper's number without it: 1000 of a U-Net, 500 of DeepLabV3+.
        steps_per_epoch: The network's own without it: 250 as nnU-Net; once through the data for DeepLabV3+.
        batch_size: The plan's without it.
        memory_gb: What the plan of a U-Net may use.
        patch_px: Side of the input; the network's own without it: the plan of a U-Net, 224 of DeepLabV3+.
        encoder: File of a ResNet-50 to start DeepLabV3+ from.
        augmentation: The network's own without it: strong for a U-Net, none for DeepLabV3+.
        noise_px: Largest move of a box side, in pixels of a 1024 x 1024 picture.
        noise: In which way sides of boxes move.
        save_every: Steps between checkpoints.
        seed: Of everything random.
    """

    epochs: int | None = None
    steps_per_epoch: int = 0
    batch_size: int = 0
    memory_gb: float = 8.0
    patch_px: int = 0
    encoder: Path | None = None
    augmentation: Literal["none", "light", "strong"] | None = None
    noise_px: float = 20.0
    noise: Literal["enlarge", "both"] = "both"
    save_every: int = 250
    seed: int = 0


def list_baselines() -> list[BaselineLine]:
    """List the comparators of the paper."""
    from medsam.training.specialist.learner import PAPER

    train = "medsam baseline train {} FOLDER --modality MODALITY -o RUN"
    return [
        BaselineLine("sam-vit-b", "SAM without training, its own pre-processing", None, "medsam models fetch sam-vit-b"),
        BaselineLine(
            "unet", "U-Net of nnU-Net's 2D plan, box as a channel", PAPER["unet"].epochs, train.format("unet")
        ),
        BaselineLine(
            "nnunet", "nnU-Net itself, 2D, box as a channel", PAPER["unet"].epochs,
            "medsam baseline prepare unet FOLDER --modality MODALITY -o ROOT, then train unet --engine nnunet -o ROOT",
        ),
        BaselineLine(
            "deeplabv3plus", "DeepLabV3+ with a ResNet-50, box as a channel", PAPER["deeplabv3plus"].epochs,
            train.format("deeplabv3plus"),
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class BaselineRequest:
    """A specialist to be trained.

    Args:
        network: Which.
        folders: Data sets with an index.csv.
        output: Folder of the run.
        name: Of the specialist; made of the network and the samples without it.
        selection: Which samples.
        schedule: How long.
        resume: Go on with the run in the folder.
        device: As choose_device.
    """

    network: Network
    folders: Sequence[Path]
    output: Path
    name: str = ""
    selection: SelectionOptions = SelectionOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    resume: bool = False
    device: str | None = None


def train_baseline(request: BaselineRequest, *, progress: StepProgress | None = None) -> RunOutcome:
    """Train a specialist, or go on where its run was stopped.

    Raises:
        MedsamError: as train_specialist.
    """
    from medsam.training.specialist.config import SpecialistConfig
    from medsam.training.specialist.learner import PAPER
    from medsam.training.specialist.run import train_specialist

    chosen, schedule, paper = request.selection, request.schedule, PAPER[request.network]
    words = [request.network, chosen.modality, chosen.dataset, chosen.target]
    config = SpecialistConfig(
        network=request.network,
        data=chosen.list_data(request.folders),
        split=chosen.split,
        modality=chosen.modality,
        dataset=chosen.dataset,
        target=chosen.target,
        name=request.name or "-".join(word for word in words if word),
        epochs=paper.epochs if schedule.epochs is None else schedule.epochs,
        steps_per_epoch=schedule.steps_per_epoch,
        batch_size=schedule.batch_size,
        memory_gb=schedule.memory_gb,
        patch_px=schedule.patch_px,
        encoder="" if schedule.encoder is None else str(schedule.encoder),
        augmentation=schedule.augmentation or paper.augmentation,
        box_noise_px=schedule.noise_px,
        box_noise=schedule.noise,
        save_every=schedule.save_every,
        seed=schedule.seed,
    )
    return train_specialist(config, request.output, resume=request.resume, device=request.device, progress=progress)


@dataclass(frozen=True)
class NnUNetRequest:
    """A raw data set of nnU-Net, and its training.

    Args:
        folders: Data sets with an index.csv.
        root: Holds nnUNet_raw and the other folders of nnU-Net.
        name: Of the data set.
        number: Of the data set.
        selection: Which samples.
        schedule: Epochs, seed and noise of the boxes.
        resume: Go on with nnU-Net's own checkpoint.
        device: As choose_device.
    """

    folders: Sequence[Path]
    root: Path
    name: str = "medsam"
    number: int = 101
    selection: SelectionOptions = SelectionOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    resume: bool = False
    device: str | None = None


def prepare_nnunet(request: NnUNetRequest) -> tuple[Path, int]:
    """Write a raw data set of nnU-Net; gives its folder and the number of its cases.

    Raises:
        OutputError: there is one already, or the disk refused.
        MedsamError: as open_samples.
    """
    from medsam.baselines.nnunet import RawDataset
    from medsam.errors import OutputError
    from medsam.training.specialist.config import SpecialistConfig
    from medsam.training.specialist.nnunet_export import export_cases

    raw = RawDataset(request.root, request.number, request.name)
    if raw.folder.exists():
        raise OutputError(
            f"{raw.folder} is there already", expected="a new data set", fix="pass another --number or -o"
        )
    chosen, schedule = request.selection, request.schedule
    config = SpecialistConfig(
        network="unet", data=chosen.list_data(request.folders), split=chosen.split, modality=chosen.modality,
        dataset=chosen.dataset, target=chosen.target, seed=schedule.seed, box_noise_px=schedule.noise_px,
        box_noise=schedule.noise,
    )  # fmt: skip
    return raw.folder, export_cases(config, raw)


def train_with_nnunet(request: NnUNetRequest) -> Path:
    """Train nnU-Net itself on a prepared data set; gives the folder of its model.

    Raises:
        DataError: no such data set, or nnU-Net failed.
        MissingDependencyError: nnU-Net is not installed.
    """
    from medsam.baselines.nnunet import RawDataset, train_nnunet
    from medsam.inference.runtimes.torch import choose_device
    from medsam.training.specialist.learner import PAPER

    raw = RawDataset(request.root, request.number, request.name)
    if not (raw.folder / "dataset.json").is_file():
        raise DataError(
            f"{raw.folder} is no data set of nnU-Net",
            expected="dataset.json in it",
            fix="make it by medsam baseline prepare",
        )
    epochs = PAPER["unet"].epochs if request.schedule.epochs is None else request.schedule.epochs
    return train_nnunet(
        raw, epochs=epochs, device=choose_device(request.device).type, resume=request.resume,
        steps_per_epoch=request.schedule.steps_per_epoch, memory_gb=request.schedule.memory_gb,
    )  # fmt: skip


def describe_baseline(path: Path) -> dict[str, object]:
    """Say what the file of a specialist is.

    Raises:
        CheckpointError: it is none.
    """
    from medsam.baselines.specialist import read_manifest

    return asdict(read_manifest(path))
