"""Everything that decides the training of a specialist, with the numbers of nnU-Net and of the published recipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from medsam.baselines.specialist import NetworkName
from medsam.errors import DataError
from medsam.evaluation.targets import BoxNoise
from medsam.imaging.boxes import Noise
from medsam.training.config import Augmentation, TrainConfig

SMALLEST_PATCH = 32  # two pixels of a feature map at output stride 16


@dataclass(frozen=True)
class SpecialistConfig:
    """A run in numbers; nothing else decides the weights.

    Args:
        network: "unet" or "deeplabv3plus".
        data: Stores, lists of pairs in them, or folders with index.csv.
        split: Rows of the data to learn from.
        modality: Pictures to take; "" takes all.
        dataset: Data set to take; "" takes all.
        target: Target to take: its name in a store, its class id in a folder; "" takes all.
        name: Of the specialist that comes out.
        epochs: Of steps_per_epoch steps each; the paper has 1000 (U-Net) and 500 (DeepLabV3+).
        steps_per_epoch: 0 is the network's own: 250 as nnU-Net, or once through the data for DeepLabV3+.
        batch_size: Images of a step; 0 is the plan's.
        memory_gb: What the plan of a U-Net may use.
        patch_px: Side of the input; 0 is the network's own: the plan of a U-Net, 224 of DeepLabV3+.
        encoder: File of a ResNet-50 to start DeepLabV3+ from; "" starts from random weights.
        augmentation: Changes of the picture and its masks, other ones at every draw.
        box_noise_px: Largest move of a side of the box, in pixels of a 1024 x 1024 picture.
        box_noise: In which way sides move.
        save_every: Steps between checkpoints.
        seed: Of everything random.
        licence: Under which the new weights may be used; "" states none.
    """

    network: NetworkName
    data: tuple[str, ...]
    split: str = "train"
    modality: str = ""
    dataset: str = ""
    target: str = ""
    name: str = "specialist"
    epochs: int = 1
    steps_per_epoch: int = 0
    batch_size: int = 0
    memory_gb: float = 8.0
    patch_px: int = 0
    encoder: str = ""
    augmentation: Augmentation = "none"
    box_noise_px: float = TrainConfig.box_noise_px
    box_noise: Noise = TrainConfig.box_noise
    save_every: int = 250
    seed: int = 0
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name, least in (("epochs", 1), ("steps_per_epoch", 0), ("batch_size", 0), ("save_every", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise DataError(
                    f"{name} is {getattr(self, name)}", expected=f"{least} or more", fix=f"pass --{name} anew"
                )
        if not self.data:
            raise DataError("no data", expected="a store or a folder with index.csv", fix="name one")
        if 0 < self.patch_px < SMALLEST_PATCH or self.patch_px < 0:
            raise DataError(
                f"patch_px is {self.patch_px}", expected=f"{SMALLEST_PATCH} or more, or 0", fix="pass --patch-px anew"
            )
        if self.batch_size == 1 and self.network == "deeplabv3plus":
            raise DataError(
                "a batch of one image", expected="2 or more: batch norm needs them", fix="pass --batch-size 2"
            )
        if self.encoder and self.network != "deeplabv3plus":
            raise DataError("an encoder for a U-Net", expected="DeepLabV3+", fix="leave --encoder out")

    @property
    def noise(self) -> BoxNoise:
        """Of the simulated boxes."""
        return BoxNoise(self.box_noise_px, self.box_noise)

    def to_json(self) -> str:
        """As kept with the run."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SpecialistConfig:
        """Read to_json back.

        Raises:
            DataError: it is no such record.
        """
        try:
            raw = json.loads(text)
            raw["data"] = tuple(raw["data"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"the record of a run that cannot be read ({type(error).__name__})",
                expected="the config.json of medsam baseline train",
                fix="start a new run with -o",
            ) from None


def load_specialist_config(path: Path) -> SpecialistConfig:
    """Read the record of a run.

    Raises:
        DataError: it is no such record.
    """
    return SpecialistConfig.from_json(path.read_text(encoding="utf-8"))
